use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{Message, SendError, Transport};

/// A way to another part of the same process.
#[derive(Clone, Debug)]
pub struct InProcess(mpsc::Sender<Received>);

/// A message that was received, and is sent again unless it is [taken](Self::taken).
#[derive(Debug)]
#[must_use = "what is not taken is sent again"]
pub struct Received {
    message: Message,
    answer: oneshot::Sender<Result<(), SendError>>,
}

impl InProcess {
    /// A way and its end. As many messages may wait: the relay waits when they do.
    pub fn new(waiting: usize) -> (Self, mpsc::Receiver<Received>) {
        let (send, receive) = mpsc::channel(waiting.clamp(1, MOST_WAITING));
        (Self(send), receive)
    }
}

const MOST_WAITING: usize = 1_000_000;

impl Received {
    /// What was received.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// It is taken for good.
    pub fn taken(self) {
        // A relay that has ended sends it again.
        let _ = self.answer.send(Ok(()));
    }

    /// It is never taken: it is set aside, with what is behind it.
    pub fn refuse(self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        let _ = self.answer.send(Err(SendError::Refused(error.into())));
    }
}

impl Transport for InProcess {
    fn send<'t>(&'t self, message: &'t Message) -> BoxFuture<'t, Result<(), SendError>> {
        async move {
            let (answer, answered) = oneshot::channel();
            let message = message.clone();
            let received = Received { message, answer };
            let gone = || SendError::Unavailable("nobody receives".into());
            self.0.send(received).await.map_err(|_| gone())?;
            let dropped = || SendError::Unavailable("it was received and not taken".into());
            answered.await.map_err(|_| dropped())?
        }
        .boxed()
    }
}
