//! Changes as they happen. Nothing depends on them.

use std::time::Duration;

use backstay_etcd::{Failure, Messages};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::ask::{ANSWER_BYTES, Asks, Kv};

/// After a watch that has ended or did not begin.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A watch, which may be away.
pub(super) enum Watch {
    On(Messages),
    Off { again_at: Instant },
}

/// One message.
#[derive(Debug, Deserialize)]
struct Watched {
    result: Told,
}

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    created: bool,
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    pub(super) kv: Kv,
}

impl Event {
    pub(super) fn is_deletion(&self) -> bool {
        self.kind.as_deref() == Some("DELETE")
    }
}

impl Watch {
    pub(super) fn new() -> Self {
        let again_at = Instant::now();
        Self::Off { again_at }
    }

    /// What has changed after a revision; none where the watch has ended, and a question is the way to know.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was not returned comes next time.
    pub(super) async fn next(&mut self, asks: &Asks, after: u64) -> Option<Vec<Event>> {
        loop {
            match self {
                Self::Off { again_at } => {
                    sleep_until(*again_at).await;
                    match open(asks, after).await {
                        Ok(messages) => *self = Self::On(messages),
                        Err(_) => *again_at = Instant::now() + LOOK_AGAIN,
                    }
                }
                Self::On(messages) => match messages.next::<Watched>().await {
                    Ok(Watched { result }) if !result.canceled => {
                        if !result.events.is_empty() {
                            return Some(result.events);
                        }
                    }
                    Ok(_) | Err(_) => {
                        let again_at = Instant::now() + LOOK_AGAIN;
                        *self = Self::Off { again_at };
                        return None;
                    }
                },
            }
        }
    }
}

async fn open(asks: &Asks, after: u64) -> Result<Messages, Failure> {
    let question = asks.watch(after + 1);
    let opened = Messages::open::<Watched>(&asks.client, "watch", &question, ANSWER_BYTES);
    let (messages, begun) = opened.await?;
    if !begun.result.created || begun.result.canceled {
        return Err(Failure::Answer("no watch"));
    }
    Ok(messages)
}
