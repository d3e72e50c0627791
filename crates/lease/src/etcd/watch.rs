//! Hints from the stream of changes of one key.

use std::time::Duration;

use backstay_etcd::{Client, Failure, Messages};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::ANSWER_BYTES;
use super::answer::Watched;

/// For who asks with no bound of his own; elections have one, which is shorter.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a stream that has ended or did not begin.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

pub(super) fn hints(client: Client, key: String) -> BoxStream<'static, ()> {
    let watch = Watch {
        client,
        key,
        messages: None,
    };
    unfold(watch, |mut watch| async move {
        watch.next().await;
        Some(((), watch))
    })
    .boxed()
}

struct Watch {
    client: Client,
    key: String,
    messages: Option<Messages>,
}

impl Watch {
    /// Ends when the watch has begun, and at each change.
    async fn next(&mut self) {
        loop {
            let seen = match &mut self.messages {
                Some(messages) => change(messages).await,
                None => match timeout(PATIENCE, open(&self.client, &self.key)).await {
                    Ok(Ok(messages)) => {
                        self.messages = Some(messages);
                        Ok(())
                    }
                    Ok(Err(failure)) => Err(failure),
                    Err(_) => Err(Failure::Late),
                },
            };
            if seen.is_ok() {
                return;
            }
            self.messages = None;
            sleep(LOOK_AGAIN).await;
        }
    }
}

async fn open(client: &Client, key: &str) -> Result<Messages, Failure> {
    let question = json!({"create_request": {"key": key}});
    let opened = Messages::open::<Watched>(client, "watch", &question, ANSWER_BYTES);
    let (messages, begun) = opened.await?;
    if !begun.result.created || begun.result.canceled {
        return Err(Failure::Answer("no watch"));
    }
    Ok(messages)
}

async fn change(messages: &mut Messages) -> Result<(), Failure> {
    loop {
        let watched = messages.next::<Watched>().await?.result;
        if watched.canceled {
            return Err(Failure::Answer("the watch was ended"));
        }
        if !watched.events.is_empty() {
            return Ok(());
        }
    }
}
