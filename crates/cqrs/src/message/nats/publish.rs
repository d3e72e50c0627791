use std::fmt;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::header::{HeaderMap, NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use async_nats::jetstream::context::{Context, ContextBuilder, PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::stream::partition;
use super::{NatsError, NatsStream};
use crate::message::relay::{SendError, Transport};
use crate::message::{Message, safe::safe};

/// Sends messages to a stream of NATS.
///
/// A message is taken when the server has acknowledged it: then it is in the server's file, and outlives the end of the server's
/// process. **Whether it outlives a power cut is for the server's configuration to say.** By default NATS has its disk write every
/// two minutes (`sync_interval` of `jetstream`), and what was acknowledged since is lost with the machine, while the relay has noted
/// that it is sent. Have `sync_interval: always`, or three replicas on machines that do not fail together.
///
/// The id by which NATS knows a message again is made of its source and its id, because ids are only unique in a source.
///
/// ```no_run
/// # use backstay_cqrs::Relay;
/// # use backstay_store::SqliteStore;
/// use backstay_cqrs::nats::{NatsTransport, async_nats};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = SqliteStore::open("orders.db").await?;
/// let client = async_nats::connect("nats.internal").await?;
/// let orders = NatsTransport::connect(client, "orders").await?;
/// let relaying = Relay::new(store, "to-nats", "order", "/orders").start(orders)?;
/// # drop(relaying); Ok(()) }
/// ```
#[derive(Clone)]
pub struct NatsTransport {
    client: Client,
    context: Context,
    stream: String,
    partitions: usize,
}

/// The client is not connected: what it sends it would keep in memory.
#[derive(Debug, thiserror::Error)]
#[error("there is no connection")]
struct NotConnected;

/// Longer than a cluster takes to choose a leader.
const ANSWER: Duration = Duration::from_secs(5);

pub(super) fn context(client: &Client) -> Context {
    ContextBuilder::new().timeout(ANSWER).build(client.clone())
}

impl NatsTransport {
    /// Makes the stream, or checks the one that is there.
    ///
    /// # Errors
    ///
    /// An option is out of its range, a stream of this name was made with others, or there is no `JetStream` that answers now.
    pub async fn connect(client: Client, stream: impl Into<NatsStream>) -> Result<Self, NatsError> {
        let stream = stream.into();
        let context = context(&client);
        stream.ensure(&context).await?;
        Ok(Self {
            client,
            context,
            partitions: stream.partitions,
            stream: stream.name,
        })
    }

    fn subject(&self, key: &str) -> String {
        let partition = partition(key, self.partitions);
        format!("{}.{partition}.{}", self.stream, safe(key))
    }

    async fn publish(&self, message: &Message) -> Result<(), SendError> {
        if self.client.connection_state() != State::Connected {
            return Err(SendError::Unavailable(NotConnected.into()));
        }
        let mut headers = HeaderMap::new();
        // Neither part has a `.` any more.
        let id = format!("{}.{}", safe(&message.source), safe(&message.id));
        headers.insert(NATS_MESSAGE_ID, id);
        headers.insert(NATS_EXPECTED_STREAM, self.stream.as_str());
        headers.insert("content-type", "application/cloudevents+json");
        let subject = self.subject(&message.key);
        let body = message.to_json();
        let sent = self.context.publish_with_headers(subject, headers, body);
        let stored = sent.await.map_err(failed)?.await;
        stored.map(drop).map_err(failed)
    }
}

/// A message that is too large will be so next time.
fn failed(error: PublishError) -> SendError {
    let source = std::error::Error::source(&error);
    let code = source
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .map(jetstream::Error::error_code);
    let is_too_large = error.kind() == PublishErrorKind::MaxPayloadExceeded
        || code == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
        || code == Some(ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM);
    if is_too_large {
        SendError::Refused(error.into())
    } else {
        SendError::Unavailable(error.into())
    }
}

impl fmt::Debug for NatsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NatsTransport").field(&self.stream).finish()
    }
}

impl Transport for NatsTransport {
    fn send<'t>(&'t self, message: &'t Message) -> BoxFuture<'t, Result<(), SendError>> {
        self.publish(message).boxed()
    }
}
