use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::first;
use crate::{Answer, Client, Failure};

/// The messages of an answer that goes on, such as a watch: one a line.
#[derive(Debug)]
pub struct Messages {
    body: Answer,
    read: BytesMut,
    /// So much of it was looked through.
    seen: usize,
    /// No message is longer.
    most: usize,
}

impl Messages {
    /// Asks one member, whose answer goes on. The member is left for the next unless its first message comes.
    ///
    /// # Errors
    ///
    /// It can't be reached, refuses, or says something else.
    pub async fn open<M: DeserializeOwned>(
        client: &Client,
        path: &str,
        question: &Value,
        most: usize,
    ) -> Result<(Self, M), Failure> {
        let mut turn = client.turn();
        let body = client.send(&turn, path, question, most).await?;
        let mut messages = Self {
            body,
            read: BytesMut::new(),
            seen: 0,
            most,
        };
        let first = messages.next().await?;
        turn.stay();
        Ok((messages, first))
    }

    /// The next one.
    ///
    /// # Errors
    ///
    /// The answer has ended, or can't be read.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn next<M: DeserializeOwned>(&mut self) -> Result<M, Failure> {
        loop {
            let new = &self.read[self.seen..];
            if let Some(end) = new.iter().position(|byte| *byte == b'\n') {
                let end = std::mem::take(&mut self.seen) + end;
                return first(&self.read.split_to(end + 1));
            }
            self.seen = self.read.len();
            if self.read.len() > self.most {
                return Err(Failure::TooLong);
            }
            let frame = self.body.frame().await;
            let frame = frame.ok_or(Failure::Answer("it has ended"))?;
            if let Ok(data) = frame.map_err(Failure::Transport)?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}
