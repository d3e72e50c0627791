use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Fence, Position, Store};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;

use super::Message;
use crate::Invalid;
use crate::consumer::{
    Consumer, Decoded, Gauge, Happened, Item, Listener, Options, PANICKED, Progress, Sink,
    SinkError,
};
use crate::name::check_name;
use crate::projection::{Checkpoint, not_committed};
use crate::task::Task;

/// A way to others.
pub trait Transport: Send + Sync + 'static {
    /// Sends a message, and answers when the other side has it for good.
    ///
    /// It may be sent more than once. Of one key one at a time is sent; dropping the future leaves it open whether it was.
    fn send<'t>(&'t self, message: &'t Message) -> BoxFuture<'t, Result<(), SendError>>;
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The other side does not take this one, and never will: it is set aside, with what is behind it.
    #[error("it was refused")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The other side can't be reached, or its answer was lost: it is sent again, and all wait.
    #[error("it was not sent")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends the events of some streams to others: at least once, those of one stream in order.
///
/// There is no outbox to write to: the log is it. Of all nodes that relay under one name, one at a time does; what it has sent is
/// noted in the log's store.
pub struct Relay {
    log: Store,
    name: String,
    streams: String,
    source: String,
    at_once: usize,
    options: Options,
    listener: Option<Listener>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("name", &self.name)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// A relay that runs until this is dropped.
#[derive(Debug)]
pub struct Relaying {
    progress: watch::Receiver<Progress>,
    position: watch::Receiver<Position>,
    running: Task,
}

/// As many keys at once: enough to hide the way there and back, few enough for the other side.
const AT_ONCE: usize = 64;
const MOST_AT_ONCE: usize = 1_000;

impl Relay {
    /// A relay of this name, for operators `relay:{name}`, of the streams `{streams}/..` of this store; messages say that they come from `source`, as a URI.
    pub fn new(
        log: impl Into<Store>,
        name: impl Into<String>,
        streams: impl Into<String>,
        source: impl Into<String>,
    ) -> Self {
        Self {
            log: log.into(),
            name: name.into(),
            streams: streams.into(),
            source: source.into(),
            at_once: AT_ONCE,
            options: Options::default(),
            listener: None,
        }
    }

    /// As many messages, of as many keys, are under way at once: 1 to 1,000. Default: 64.
    #[must_use]
    pub fn at_once(mut self, messages: usize) -> Self {
        self.at_once = messages;
        self
    }

    /// How long a lost node's work rests until another takes it: 300 ms to 1 h. Default: 10 s.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }

    /// So often a message that is refused is sent, over some seconds, before it is set aside: 1 to 100. Default: 6.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = attempts;
        self
    }

    /// With more messages than these set aside nothing goes on until some are replayed or skipped: 1 to 1,000,000. Default: 10,000.
    #[must_use]
    pub fn dead_limit(mut self, limit: u32) -> Self {
        self.options.dead_limit = limit;
        self
    }

    /// Is told what happens, and to which consumer: `relay:{name}`.
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&str, &Happened) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Begins to send. Needs a runtime.
    pub fn start(self, transport: impl Transport) -> Result<Relaying, Invalid> {
        check_name("name", &self.name)?;
        check_name("streams", &self.streams)?;
        self.options.validate()?;
        if !(1..=MOST_AT_ONCE).contains(&self.at_once) {
            let limit = format!("must be in 1..={MOST_AT_ONCE}");
            return Err(Invalid::new("at_once", self.at_once, limit));
        }
        if self.source.is_empty() {
            return Err(Invalid::new("source", "\"\"", "must not be empty"));
        }
        // No name has a `:`, so none of a read side is the same.
        let id = format!("relay:{}", self.name);
        let sink = RelaySink {
            checkpoint: Checkpoint::new(self.log.clone(), &id, &self.streams),
            transport: Arc::new(transport),
            at_once: self.at_once,
            sent: HashSet::new(),
        };
        let source = self.source;
        let consumer = Consumer {
            log: self.log,
            gauge: Gauge::new(&id, self.listener),
            name: id,
            prefix: format!("{}/", self.streams),
            decode: Box::new(move |recorded| match Message::new(&source, recorded) {
                Some(message) => Decoded::Item(Arc::new(message)),
                None => Decoded::Unreadable("its data is not JSON".to_owned()),
            }),
            options: self.options,
        };
        Ok(Relaying {
            progress: consumer.gauge.progress.subscribe(),
            position: consumer.gauge.position.subscribe(),
            running: crate::consumer::start(consumer, sink),
        })
    }
}

impl Relaying {
    /// How far it is, if this node relays.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until this node has sent all up to a position, at most so long.
    pub async fn at_least(
        &self,
        position: Position,
        within: Duration,
    ) -> Result<(), crate::WaitError> {
        crate::consumer::at_least(self.position.clone(), position, within).await
    }

    /// Lets other nodes go on. What is under way is sent again by them.
    pub async fn stop(&self) {
        self.running.stop().await;
    }
}

struct RelaySink {
    checkpoint: Checkpoint,
    transport: Arc<dyn Transport>,
    at_once: usize,
    /// Sent, and not yet noted.
    sent: HashSet<Position>,
}

/// One that panics has refused it.
async fn send_contained(transport: &dyn Transport, message: &Message) -> Result<(), SendError> {
    let send = AssertUnwindSafe(async { transport.send(message).await });
    send.catch_unwind().await.unwrap_or_else(|panic| {
        std::mem::forget(panic);
        Err(SendError::Refused(PANICKED.into()))
    })
}

impl RelaySink {
    /// Sends all that were not sent, each key's in order. What comes after one that was not sent is not sent either.
    async fn send(&mut self, items: &[Item<Arc<Message>>]) -> Result<(), SinkError> {
        let mut by_key: BTreeMap<&str, Vec<Arc<Message>>> = BTreeMap::new();
        for item in items {
            if !self.sent.contains(&item.place.position) {
                let of_key = by_key.entry(&item.place.stream).or_default();
                of_key.push(item.what.clone());
            }
        }
        let sends = by_key.into_values().map(|messages| {
            let transport = self.transport.clone();
            async move {
                let mut sent = Vec::new();
                for message in messages {
                    if let Err(error) = send_contained(&*transport, &message).await {
                        return (sent, Err(error));
                    }
                    sent.push(message.position);
                }
                (sent, Ok(()))
            }
        });
        let sends: Vec<_> = sends.collect();
        let mut ended = stream::iter(sends).buffer_unordered(self.at_once);
        let (mut refused, mut unavailable) = (None, None);
        while let Some((sent, result)) = ended.next().await {
            self.sent.extend(sent);
            match result {
                Ok(()) => {}
                Err(error @ SendError::Refused(_)) => refused = Some(error),
                Err(error) => unavailable = Some(error),
            }
        }
        let text = |error: SendError| crate::projection::chain(&error);
        match (unavailable, refused) {
            (Some(error), _) => Err(SinkError::Unavailable(text(error))),
            (None, Some(error)) => Err(SinkError::Refused(text(error))),
            (None, None) => Ok(()),
        }
    }
}

impl Sink<Arc<Message>> for RelaySink {
    fn open<'s>(&'s mut self, fence: &'s Fence) -> BoxFuture<'s, Result<Position, SinkError>> {
        self.checkpoint.open(fence).boxed()
    }

    fn take<'s>(
        &'s mut self,
        items: Arc<[Item<Arc<Message>>]>,
        to: Position,
        fence: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>> {
        async move {
            self.send(&items).await?;
            let told = self.checkpoint.told.with(&items, to);
            let batch = self.checkpoint.batch(told, fence);
            let commit = self.checkpoint.store.commit(batch).await;
            self.checkpoint
                .committed(&commit.map_err(not_committed)?, told);
            for item in items.iter() {
                self.sent.remove(&item.place.position);
            }
            Ok(())
        }
        .boxed()
    }

    fn take_again<'s>(
        &'s mut self,
        item: Item<Arc<Message>>,
        _: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>> {
        async move {
            let sent = send_contained(&*self.transport, &item.what).await;
            sent.map_err(|error| match error {
                SendError::Refused(_) => SinkError::Refused(crate::projection::chain(&error)),
                SendError::Unavailable(_) => {
                    SinkError::Unavailable(crate::projection::chain(&error))
                }
            })
        }
        .boxed()
    }
}
