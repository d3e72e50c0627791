use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::AckKind;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::delivery::Delivery;
use super::partition::{Partition, Shared};
use super::publish::context;
use super::stream::{check_order, find};
use super::{NatsError, check};
use crate::Invalid;

/// A group of receivers.
///
/// A name does as well where the defaults will do: `NatsSource::connect(client, "orders", "billing")`.
#[derive(Clone)]
#[must_use = "options do nothing until something connects with them"]
pub struct NatsConsumer {
    name: String,
    ack_wait: Duration,
    listener: Option<Listener>,
}

/// Something that happened to a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatsHappened {
    /// What came is not a message, and does not come again. The stream has it until it is too old.
    Unreadable {
        /// Its number in the stream.
        sequence: u64,
        /// Why.
        error: String,
    },
    /// NATS can't be asked for a partition now. It is tried again.
    Stalled {
        /// Why.
        error: String,
    },
}

pub(super) type Listener = Arc<dyn Fn(&NatsHappened) + Send + Sync>;

/// As long as most work beside a database takes at the very most.
const ACK_WAIT: Duration = Duration::from_secs(30);
const ACK_WAITS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

impl NatsConsumer {
    /// A group of this name, 1 to 64 of letters, digits, `-` and `_`. Each group gets every message.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ack_wait: ACK_WAIT,
            listener: None,
        }
    }

    /// A message that is not answered for so long is handed out again, here or to another of the group: 1 s to 1 h; 30 s.
    /// What still works on it then works beside another.
    pub fn ack_wait(mut self, time: Duration) -> Self {
        self.ack_wait = time;
        self
    }

    /// Is told what happens.
    pub fn on_event(mut self, listener: impl Fn(&NatsHappened) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }
}

impl<S: Into<String>> From<S> for NatsConsumer {
    fn from(name: S) -> Self {
        Self::new(name)
    }
}

impl fmt::Debug for NatsConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConsumer")
            .field("name", &self.name)
            .field("ack_wait", &self.ack_wait)
            .finish_non_exhaustive()
    }
}

/// Receives messages from a stream of NATS, for a group of receivers that share them.
///
/// Messages come at least once, those of a key in order: of a partition only one is with the whole group at a time, and the next is
/// handed out when that was answered. After an answer that was lost, a receiver that was too slow, or a server that was killed, those
/// that were taken come again; take them with an [`Inbox`](crate::Inbox).
///
/// As many deliveries as the stream has partitions are handed out at once. Ask for the next while the others are worked on:
///
/// ```no_run
/// # use backstay_cqrs::{Inbox, InboxError, Taken};
/// # use backstay_store::{SqliteStore, sqlite::rusqlite};
/// # use std::time::Duration;
/// use backstay_cqrs::nats::{NatsSource, async_nats};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = SqliteStore::open("bills.db").await?;
/// let client = async_nats::connect("nats.internal").await?;
/// let mut orders = NatsSource::connect(client, "orders", "billing").await?;
/// let inbox = Inbox::new(&store, "orders")?;
/// loop {
///     let delivery = orders.next().await;
///     let inbox = inbox.clone();
///     tokio::spawn(async move {
///         let message = delivery.message().clone();
///         let key = message.key.clone();
///         let taken = inbox.take(&message, move |rows| {
///             rows.execute("INSERT INTO bills (customer) VALUES (?1)", [&key]).map(drop)
///         });
///         match taken.await {
///             // Now, before, or set aside behind one of the same key.
///             Ok(_) => delivery.taken().await,
///             Err(InboxError::Work(error)) if delivery.attempt() >= 6 => {
///                 match inbox.set_aside(&message, &error.to_string()).await {
///                     Ok(()) => delivery.taken().await,
///                     Err(_) => delivery.later(Duration::from_secs(10)).await,
///                 }
///             }
///             Err(_) => delivery.later(Duration::from_secs(1)).await,
///         }
///     });
/// }
/// # }
/// ```
pub struct NatsSource {
    deliveries: mpsc::Receiver<Delivery>,
    partitions: Shared,
    ack_wait: Duration,
    /// They end with this.
    following: JoinSet<()>,
}

impl fmt::Debug for NatsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSource")
            .field("partitions", &self.partitions.len())
            .field("ack_wait", &self.ack_wait)
            .finish_non_exhaustive()
    }
}

impl NatsSource {
    /// Begins to receive as one of a group.
    ///
    /// # Errors
    ///
    /// An option is out of its range, the stream is missing or has no partitions, or there is no `JetStream` that answers now.
    pub async fn connect(
        client: Client,
        stream: &str,
        consumer: impl Into<NatsConsumer>,
    ) -> Result<Self, NatsError> {
        let NatsConsumer {
            name,
            ack_wait,
            listener,
        } = consumer.into();
        check("stream", stream)?;
        check("consumer", &name)?;
        if !ACK_WAITS.contains(&ack_wait) {
            let limit = "must be in 1 s..=1 h";
            return Err(Invalid::new("ack_wait", format!("{ack_wait:?}"), limit).into());
        }
        let context = context(&client);
        let found = find(&context, stream).await?;
        check_order(&found)?;
        let partition = |number| Partition {
            context: context.clone(),
            stream: stream.to_owned(),
            name: name.clone(),
            number,
            ack_wait,
            listener: listener.clone(),
        };
        let partitions: Shared = (0..found.subjects.len()).map(partition).collect();
        // Each partition has one under way at most.
        let (out, deliveries) = mpsc::channel(partitions.len().max(1));
        let mut following = JoinSet::new();
        for partition in partitions.iter() {
            partition.consumer().await?;
            following.spawn(partition.clone().follow(out.clone()));
        }
        Ok(Self {
            deliveries,
            partitions,
            ack_wait,
            following,
        })
    }

    /// Waits for the next message, as long as it takes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Delivery {
        loop {
            let Some(delivery) = self.deliveries.recv().await else {
                // The tasks end with this only.
                std::future::pending().await
            };
            // One that nobody has asked for in time will be handed out again.
            if delivery.since.elapsed() < self.ack_wait / 2 {
                return delivery;
            }
        }
    }

    /// As many messages wait for the group, those that are with it among them. For a metric: one question for each partition.
    pub async fn waiting(&self) -> Result<u64, NatsError> {
        let mut waiting = 0;
        for partition in self.partitions.iter() {
            waiting += partition.waiting().await?;
        }
        Ok(waiting)
    }

    /// Gives back what nobody has asked for yet, so that others get it now. Deliveries that are out can still be answered.
    pub async fn stop(mut self) {
        self.following.abort_all();
        self.deliveries.close();
        // What is lost here comes again after the wait for an answer.
        while let Ok(delivery) = self.deliveries.try_recv() {
            let nak = AckKind::Nak(None).into();
            let _ = delivery.client.publish(delivery.reply.clone(), nak).await;
            let _ = delivery.client.flush().await;
        }
    }
}
