//! Hints from the stream of changes of one key.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::answer::Watched;
use super::client::{ANSWER_BYTES, Answer, Client, Failure, PATIENCE, first};

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
                Some(messages) => messages.change().await,
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
    let mut turn = client.turn();
    let body = client.send(&turn, "watch", &question).await?;
    let mut messages = Messages {
        body,
        read: BytesMut::new(),
    };
    let begun = messages.next().await?.result;
    if !begun.created || begun.canceled {
        return Err(Failure::Answer("no watch"));
    }
    turn.stay();
    Ok(messages)
}

/// One message a line.
struct Messages {
    body: Answer,
    read: BytesMut,
}

impl Messages {
    async fn change(&mut self) -> Result<(), Failure> {
        loop {
            let watched = self.next().await?.result;
            if watched.canceled {
                return Err(Failure::Answer("the watch was ended"));
            }
            if !watched.events.is_empty() {
                return Ok(());
            }
        }
    }

    async fn next(&mut self) -> Result<Watched, Failure> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return first(&self.read.split_to(end + 1));
            }
            if self.read.len() > ANSWER_BYTES {
                return Err(Failure::Answer("it has no end"));
            }
            let frame = self.body.frame().await;
            let frame = frame.ok_or(Failure::Answer("it has ended"))?;
            if let Ok(data) = frame.map_err(Failure::Transport)?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}
