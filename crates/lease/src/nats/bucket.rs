//! A bucket as the stream that it is: what is asked of it goes to the stream's leader, and never to a replica that is late.

use std::error::Error;
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::connection::State;
use async_nats::header::{
    HeaderMap, HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM,
};
use async_nats::jetstream::context::{GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, StorageType, Stream,
};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, jetstream};
use backstay_core::{Effect, Invalid};
use backstay_store::{Cause, Unavailable};
use bytes::Bytes;

use crate::ConnectError;

/// As in every bucket of keys and values: what it means that a key is gone.
const OPERATION: &str = "KV-Operation";
const DELETED: &str = "DEL";

#[derive(Clone)]
pub(super) struct Bucket {
    client: Client,
    context: Context,
    name: String,
    ttl: Duration,
    replicas: usize,
}

/// The newest message under a key.
pub(super) enum Newest {
    /// None, or one that says that the key is gone; with its revision, or 0.
    Gone(u64),
    Value(u64, Bytes),
}

impl Bucket {
    pub(super) fn new(client: Client, name: String, ttl: Duration, replicas: usize) -> Self {
        Self {
            context: jetstream::new(client.clone()),
            client,
            name,
            ttl,
            replicas,
        }
    }

    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn stream_name(&self) -> String {
        format!("KV_{}", self.name)
    }

    /// Letters, digits, `-` and `_` stand for themselves; another byte is `=` and its two digits.
    pub(super) fn subject(&self, name: &str) -> String {
        let mut subject = format!("$KV.{}.", self.name);
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                subject.push(char::from(byte));
            } else {
                write!(subject, "={byte:02X}").expect("memory");
            }
        }
        subject
    }

    /// Finds the bucket as it is now, or makes it.
    pub(super) async fn ensure(&self) -> Result<Stream, ConnectError> {
        self.is_reached()?;
        let stream = match self.context.get_stream(self.stream_name()).await {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    let made = self.context.create_stream(self.config()).await;
                    made.map_err(|error| failed(Effect::Unknown, error))?
                }
                _ => return Err(failed(Effect::NotExecuted, error).into()),
            },
        };
        self.check(&stream.cached_info().config)?;
        Ok(stream)
    }

    fn config(&self) -> Config {
        Config {
            name: self.stream_name(),
            subjects: vec![format!("$KV.{}.>", self.name)],
            max_age: self.ttl,
            max_messages_per_subject: 1,
            // As NATS makes its buckets.
            max_messages: -1,
            max_bytes: -1,
            max_consumers: -1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            duplicate_window: self.ttl.min(Duration::from_secs(120)),
            storage: StorageType::File,
            num_replicas: self.replicas,
            ..Config::default()
        }
    }

    /// Refuses a bucket in which a lease would end sooner or later than it should, or tokens could go back.
    fn check(&self, config: &Config) -> Result<(), Invalid> {
        let wrong = |field: &str, found: String, limit: String| {
            let field = format!("{} of the bucket {}", field, self.name);
            Err(Invalid::new(field, found, limit))
        };
        if config.max_age != self.ttl {
            let found = format!("{:?}", config.max_age);
            return wrong("max_age", found, format!("must be {:?}", self.ttl));
        }
        if config.storage != StorageType::File {
            let found = format!("{:?}", config.storage);
            return wrong("storage", found, "must be a file".to_owned());
        }
        if config.discard != DiscardPolicy::New {
            let found = format!("{:?}", config.discard);
            let limit = "must be of new messages: leases would be lost for others".to_owned();
            return wrong("discard", found, limit);
        }
        Ok(())
    }

    /// When it was made, in tens of microseconds since 1970: until 2286 a token has fifteen digits, as many as a header
    /// carries, and no bucket gets a hundred thousand messages a second all its life.
    pub(super) async fn base(&self) -> Result<u64, Unavailable> {
        let stream = self.ensure().await.map_err(|error| match error {
            ConnectError::Unavailable(unavailable) => unavailable,
            error @ ConnectError::Invalid(_) => failed(Effect::NotExecuted, error),
        })?;
        let made = SystemTime::from(stream.cached_info().created).duration_since(UNIX_EPOCH);
        Ok(made.map_or(0, |made| u64::try_from(made.as_micros() / 10).unwrap_or(0)))
    }

    /// The stream, whether it is there or not.
    pub(super) async fn stream(&self) -> Result<Stream<()>, Unavailable> {
        self.is_reached()?;
        let stream = self.context.get_stream_no_info(self.stream_name()).await;
        stream.map_err(|error| failed(Effect::NotExecuted, error))
    }

    pub(super) async fn newest(&self, name: &str) -> Result<Newest, Unavailable> {
        let stream = self.stream().await?;
        let message = stream
            .get_last_raw_message_by_subject(&self.subject(name))
            .await;
        match message {
            Ok(message) if is_gone(&message) => Ok(Newest::Gone(message.sequence)),
            Ok(message) => Ok(Newest::Value(message.sequence, message.payload)),
            Err(error) => match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(Newest::Gone(0)),
                LastRawMessageErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(Newest::Gone(0))
                }
                _ => Err(failed(Effect::NotExecuted, error)),
            },
        }
    }

    /// Writes after the newest revision as it was seen; the new one, or none if that was not the newest any more.
    pub(super) async fn write(
        &self,
        name: &str,
        after: u64,
        value: Bytes,
    ) -> Result<Option<u64>, Unavailable> {
        self.send(name, after, HeaderMap::new(), value).await
    }

    pub(super) async fn delete(&self, name: &str, after: u64) -> Result<Option<u64>, Unavailable> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, DELETED);
        self.send(name, after, headers, Bytes::new()).await
    }

    async fn send(
        &self,
        name: &str,
        after: u64,
        mut headers: HeaderMap,
        value: Bytes,
    ) -> Result<Option<u64>, Unavailable> {
        self.is_reached()?;
        headers.insert(
            NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            HeaderValue::from(after),
        );
        headers.insert(NATS_EXPECTED_STREAM, self.stream_name());
        let subject = self.subject(name);
        let sent = self
            .context
            .publish_with_headers(subject, headers, value)
            .await;
        let written = match sent {
            Ok(answer) => answer.await,
            Err(error) => return Err(failed(Effect::NotExecuted, error)),
        };
        match written {
            Ok(written) => Ok(Some(written.sequence)),
            Err(error) if was_late(&error) => Ok(None),
            Err(error) => Err(failed(Effect::Unknown, error)),
        }
    }

    /// The client keeps what is sent while it is not connected, to send it later: nothing that is asked here is worth that.
    fn is_reached(&self) -> Result<(), Unavailable> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            _ => Err(Unavailable::new(Cause::Storage, Effect::NotExecuted)),
        }
    }

    pub(super) fn inbox(&self) -> String {
        self.client.new_inbox()
    }
}

/// Whether another has written since.
fn was_late(error: &PublishError) -> bool {
    // So says a cluster while the other's message is on its way.
    let says_so = |source: &(dyn Error + 'static)| {
        let error = source.downcast_ref::<jetstream::Error>();
        error.map(jetstream::Error::error_code)
            == Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
    };
    error.kind() == PublishErrorKind::WrongLastSequence || error.source().is_some_and(says_so)
}

fn is_gone(message: &StreamMessage) -> bool {
    message.headers.get(OPERATION).is_some()
}

pub(super) fn failed(effect: Effect, error: impl Error + Send + Sync + 'static) -> Unavailable {
    Unavailable::new(Cause::Storage, effect).because(error)
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.name).finish()
    }
}
