//! One partition: asks for the next message when the one before it was answered.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer};
use async_nats::jetstream::{self, AckKind, Context};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::delivery::Delivery;
use super::source::{Listener, NatsHappened};
use super::{NatsError, stream};
use crate::consumer::contained;
use crate::message::{Message, MessageError};

/// What is needed to follow a partition.
#[derive(Clone)]
pub(super) struct Partition {
    pub(super) context: Context,
    pub(super) stream: String,
    pub(super) name: String,
    pub(super) number: usize,
    pub(super) ack_wait: Duration,
    pub(super) listener: Option<Listener>,
}

/// A question for the next message ends at the server after this, and is asked again.
const ASKED: Duration = Duration::from_secs(30);
/// A server that says nothing for twice as long is gone.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A message that was dropped comes again after this.
const DROPPED: Duration = Duration::from_secs(1);
/// One that this code can't read waits so long for code that can.
const LATER: Duration = Duration::from_secs(30);
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);

impl Partition {
    /// Makes the consumer, or brings the one that is there in line.
    pub(super) async fn consumer(&self) -> Result<PullConsumer, NatsError> {
        let config = Config {
            durable_name: Some(format!("{}-{}", self.name, self.number)),
            filter_subject: stream::filter(&self.stream, self.number),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            // The order of a key: while one is with anybody, or waits to come again, no other is handed out.
            max_ack_pending: 1,
            // Giving up is for receivers to decide.
            max_deliver: -1,
            ..Config::default()
        };
        let made = self
            .context
            .create_consumer_on_stream(config, self.stream.as_str());
        made.await.map_err(NatsError::unavailable)
    }

    async fn open(&self) -> Result<Stream, NatsError> {
        let consumer = self.consumer().await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(1)
            .expires(ASKED)
            .heartbeat(HEARTBEAT)
            .messages();
        messages.await.map_err(NatsError::unavailable)
    }

    /// Hands out messages until the other end is gone.
    pub(super) async fn follow(self, out: mpsc::Sender<Delivery>) {
        let mut messages = None;
        let mut failed = 0;
        while !out.is_closed() {
            let next = self.next(&mut messages).await;
            let Ok(message) = next.inspect_err(|error| self.stalled(error)) else {
                messages = None;
                let rest = FIRST_REST * 2_u32.saturating_pow(failed.min(8));
                sleep(rest.min(LONGEST_REST).mul_f64(0.5 + 0.5 * fastrand::f64())).await;
                failed += 1;
                continue;
            };
            failed = 0;
            if self.hand_out(message, &out).await.is_none() {
                return;
            }
        }
    }

    async fn next(&self, messages: &mut Option<Stream>) -> Result<jetstream::Message, NatsError> {
        let messages = match messages {
            Some(messages) => messages,
            None => messages.insert(self.open().await?),
        };
        let ended = || NatsError::unavailable("the stream of messages has ended");
        let next = messages.next().await.ok_or_else(ended)?;
        next.map_err(NatsError::unavailable)
    }

    /// Ends when the message was answered or is to come again. None if nobody is there.
    async fn hand_out(
        &self,
        message: jetstream::Message,
        out: &mpsc::Sender<Delivery>,
    ) -> Option<()> {
        let since = Instant::now();
        let (sequence, attempt) = message.info().map_or((0, 1), |info| {
            (info.stream_sequence, info.delivered.unsigned_abs())
        });
        let read = Message::from_json(&message.payload);
        let (read, reply) = match (read, message.reply.clone()) {
            (Ok(read), Some(reply)) => (read, reply),
            (Err(error), _) => {
                // Newer code reads another version of the form; what is no message at all is never one.
                let answer = match error {
                    MessageError::Version(_) => AckKind::Nak(Some(LATER)),
                    _ => AckKind::Term,
                };
                let error = crate::projection::chain(&error);
                self.tell(&NatsHappened::Unreadable { sequence, error });
                // It comes again if this is lost.
                let _ = message.ack_with(answer).await;
                return Some(());
            }
            (_, None) => return Some(()),
        };
        let (answered, answer) = oneshot::channel();
        let delivery = Delivery {
            message: read,
            attempt,
            reply,
            client: self.context.client(),
            since,
            answered,
        };
        out.send(delivery).await.ok()?;
        // What is held for longer is handed out again by the server.
        if let Ok(Err(_)) = timeout(self.ack_wait, answer).await {
            let _ = message.ack_with(AckKind::Nak(Some(DROPPED))).await;
        }
        Some(())
    }

    fn stalled(&self, error: &NatsError) {
        let error = crate::projection::chain(error);
        self.tell(&NatsHappened::Stalled { error });
    }

    fn tell(&self, happened: &NatsHappened) {
        if let Some(listener) = &self.listener {
            // One that panics takes nothing else with it.
            let _ = contained(|| listener(happened));
        }
    }

    /// As many messages nobody has taken yet.
    pub(super) async fn waiting(&self) -> Result<u64, NatsError> {
        let info = self.consumer().await?.cached_info().clone();
        Ok(info.num_pending + info.num_ack_pending as u64)
    }
}

/// Of one that can be shared.
pub(super) type Shared = Arc<[Partition]>;
