use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::time::Duration;

use backstay_core::structured::string_of;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use tokio::time::timeout;
use tower_service::Service;

use super::secret::Secret;
use super::{ID, SIGNATURE, TIMESTAMP};
use crate::Invalid;
use crate::message::relay::{SendError, Transport};
use crate::message::{Message, safe::safe};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const CLOUD_EVENT: &str = "application/cloudevents+json";
/// Longer than a pipeline's deadline is by default, so that the pipeline says what was wrong.
const WITHIN: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3_600);

/// Sends messages to a URL by HTTP POST, signed as Standard Webhooks says.
///
/// The body is a `CloudEvent` in JSON, `webhook-id` and `idempotency-key` are the message's id (bytes other than letters, digits, `-`,
/// `_` and `/` as `=` and two digits). A status of 2xx means that the message is taken. 4xx mean that it never will be and the relay
/// sets it aside, but for those that are about the moment (408, 409, 425, 429) or about the address and the secret, which are the same
/// for all messages (401, 403, 404, 405, 407, 410, 421): with these, as with everything else, it is sent again later. The body of an
/// answer is not read.
///
/// `client` is any HTTP client that is a tower service and cheap to clone. Give it deadline, retries and breaker of a pipeline:
///
/// ```no_run
/// # use backstay_cqrs::Relay;
/// # use backstay_cqrs::webhook::Webhook;
/// # use backstay_store::SqliteStore;
/// use backstay_call::Pipeline;
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = SqliteStore::open("orders.db").await?;
/// let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
/// let client = Pipeline::builder("billing").build()?.http().layer(client);
/// let secret = std::env::var("BILLING_SECRET")?;
/// let webhook = Webhook::new(client, "http://billing.internal/messages", &secret)?;
/// let relaying = Relay::new(store, "to-billing", "order", "/orders").start(webhook)?;
/// # drop(relaying); Ok(()) }
/// ```
///
/// The request is the same on each attempt of the pipeline, its timestamp too: the deadline has to be shorter than what the other
/// side tolerates, usually 5 min.
pub struct Webhook<C, B> {
    client: C,
    url: Uri,
    secrets: Vec<Secret>,
    within: Duration,
    body: PhantomData<fn() -> B>,
}

/// A status that says that a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was {0}")]
pub struct Answered(pub StatusCode);

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("there was no answer within {0:?}")]
struct TooLate(Duration);

impl<C, B> Webhook<C, B> {
    /// To a URL with scheme and host. The secret is `whsec_` and 24 to 64 bytes in base64.
    pub fn new(client: C, url: &str, secret: &str) -> Result<Self, Invalid> {
        let limit = "must be a URL with scheme and host";
        let wrong = || Invalid::new("url", format!("{url:?}"), limit);
        let read: Uri = url.parse().map_err(|_| wrong())?;
        if read.scheme().is_none() || read.host().is_none() {
            return Err(wrong());
        }
        Ok(Self {
            client,
            url: read,
            secrets: vec![Secret::read(secret)?],
            within: WITHIN,
            body: PhantomData,
        })
    }

    /// Signs with another secret too, while the other side changes from one to the other.
    pub fn also(mut self, secret: &str) -> Result<Self, Invalid> {
        self.secrets.push(Secret::read(secret)?);
        Ok(self)
    }

    /// An answer that takes longer is taken for lost: 1 ms to 1 h. Default: 60 s.
    pub fn within(mut self, time: Duration) -> Result<Self, Invalid> {
        if !(Duration::from_millis(1)..=LONGEST).contains(&time) {
            let limit = "must be in 1 ms..=1 h";
            return Err(Invalid::new("within", format!("{time:?}"), limit));
        }
        self.within = time;
        Ok(self)
    }

    fn request(&self, message: &Message) -> Result<Request<B>, http::Error>
    where
        B: From<Bytes>,
    {
        let body = message.to_json();
        let id = safe(&message.id);
        let timestamp = (crate::consumer::now().as_millis() / 1_000).to_string();
        let signatures: Vec<_> = self
            .secrets
            .iter()
            .map(|secret| secret.sign(&id, &timestamp, &body))
            .collect();
        Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static(CLOUD_EVENT))
            .header(
                HeaderName::from_static(IDEMPOTENCY_KEY),
                string_of(&id).unwrap_or_default(),
            )
            .header(ID, id)
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, signatures.join(" "))
            .body(B::from(body))
    }
}

impl<C, B, R> Transport for Webhook<C, B>
where
    C: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    C::Future: Send,
    B: From<Bytes> + Send + 'static,
    R: Send,
{
    fn send<'t>(&'t self, message: &'t Message) -> BoxFuture<'t, Result<(), SendError>> {
        async move {
            let request = self.request(message);
            // Only an id of kilobytes is not a header.
            let request = request.map_err(|error| SendError::Refused(error.into()))?;
            let mut client = self.client.clone();
            let answer = async {
                poll_fn(|cx| client.poll_ready(cx)).await?;
                let answer = client.call(request).await?;
                Ok(answer.status())
            };
            match timeout(self.within, answer).await {
                Ok(Ok(status)) => judge(status),
                Ok(Err(error)) => {
                    let error: C::Error = error;
                    Err(SendError::Unavailable(error.into()))
                }
                Err(_) => Err(SendError::Unavailable(TooLate(self.within).into())),
            }
        }
        .boxed()
    }
}

fn judge(status: StatusCode) -> Result<(), SendError> {
    let answered = || Answered(status).into();
    match status.as_u16() {
        200..=299 => Ok(()),
        // Of the moment, and what is wrong with all messages alike.
        408 | 409 | 425 | 429 | 401 | 403 | 404 | 405 | 407 | 410 | 421 => {
            Err(SendError::Unavailable(answered()))
        }
        400..=499 => Err(SendError::Refused(answered())),
        _ => Err(SendError::Unavailable(answered())),
    }
}

impl<C, B> fmt::Debug for Webhook<C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.to_string();
        f.debug_tuple("Webhook").field(&url).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CQ-5: only what will never be taken is refused.
    #[test]
    fn a_status_is_judged() {
        for status in [200, 202, 204] {
            judge(StatusCode::from_u16(status).unwrap()).unwrap();
        }
        for status in [400, 406, 413, 415, 422] {
            let judged = judge(StatusCode::from_u16(status).unwrap());
            assert!(matches!(judged, Err(SendError::Refused(_))), "{status}");
        }
        for status in [301, 401, 403, 404, 408, 409, 410, 425, 429, 500, 502, 503] {
            let judged = judge(StatusCode::from_u16(status).unwrap());
            assert!(matches!(judged, Err(SendError::Unavailable(_))), "{status}");
        }
    }
}
