use std::fmt;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::{Client, Request, Subject};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::NatsError;
use crate::message::Message;

/// A message that NATS has handed out, and hands out again unless it is answered.
///
/// Until it is, no other of its partition is handed out to anybody. One that is dropped comes again after a second.
#[must_use = "what is not answered comes again"]
pub struct Delivery {
    pub(super) message: Message,
    pub(super) attempt: u64,
    pub(super) reply: Subject,
    pub(super) client: Client,
    pub(super) since: Instant,
    /// Tells the partition that it can go on.
    pub(super) answered: oneshot::Sender<()>,
}

/// An answer of NATS to ours.
const ANSWER: Duration = Duration::from_secs(5);

impl Delivery {
    /// What was handed out.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The number of times it was handed out to anybody, from 1.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// It is taken for good. Answers when NATS has noted it.
    ///
    /// # Errors
    ///
    /// Where NATS can't be asked the message may come again.
    pub async fn taken(self) -> Result<(), NatsError> {
        self.answer(AckKind::Ack).await
    }

    /// It is to come again after a while; what is behind it in its partition waits.
    pub async fn later(self, after: Duration) -> Result<(), NatsError> {
        self.answer(AckKind::Nak(Some(after))).await
    }

    /// It is not to come again, and **what is behind it with the same key comes as if it had been taken**.
    ///
    /// The stream has it until it is too old, and NATS tells those who listen to its advisories. To set aside what is behind it too
    /// and to take it later, give it to [`Inbox::set_aside`](crate::Inbox::set_aside) and say that it is [taken](Self::taken).
    pub async fn refuse(self) -> Result<(), NatsError> {
        self.answer(AckKind::Term).await
    }

    async fn answer(self, kind: AckKind) -> Result<(), NatsError> {
        let request = Request::new()
            .payload(Bytes::from(kind))
            .timeout(Some(ANSWER));
        let noted = self.client.send_request(self.reply, request).await;
        // Also after an error: then it comes again in its time.
        let _ = self.answered.send(());
        noted.map(drop).map_err(NatsError::unavailable)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
