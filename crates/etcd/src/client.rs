//! Questions to the JSON gateway of whichever member answers.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use backstay_core::Invalid;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower_service::Service;

/// What a client may fail with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The body of an answer.
pub type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// For who asks with no bound of his own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// A connection on which nothing comes is looked after; a watch may have nothing to say for days.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// gRPC's numbers for why a question was refused.
pub mod codes {
    /// There is no such thing.
    pub const NOT_FOUND: u32 = 5;
    /// It has no room left.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// What was asked for is forgotten, or still to come.
    pub const OUT_OF_RANGE: u32 = 11;
    /// Not this member, or not now.
    pub const UNAVAILABLE: u32 = 14;
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The connection.
    #[error("no answer came")]
    Transport(#[source] BoxError),
    /// Nothing came for so long.
    #[error("no answer came in {PATIENCE:?}")]
    Late,
    /// A member says why.
    #[error("refused: {message} (code {code})")]
    Refused {
        /// One of [`codes`], or another of gRPC's.
        code: u32,
        /// In its words.
        message: String,
    },
    /// It can't be right.
    #[error("the answer is not as expected: {0}")]
    Answer(&'static str),
    /// It is longer than who asked allows.
    #[error("the answer is too long")]
    TooLong,
}

impl Failure {
    /// Whether another member may know better.
    fn is_the_members(&self) -> bool {
        match self {
            Failure::Refused { code, .. } => *code == codes::UNAVAILABLE,
            Failure::Transport(_) | Failure::Late | Failure::Answer(_) => true,
            Failure::TooLong => false,
        }
    }
}

/// Why a question was refused, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: u32,
    message: String,
}

type Sent = BoxFuture<'static, Result<Response<Answer>, BoxError>>;

/// Sends requests; cheap to clone.
#[derive(Clone)]
struct Transport(Arc<dyn Fn(Request<Full<Bytes>>) -> Sent + Send + Sync>);

impl Transport {
    fn plain() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_nodelay(true);
        Self::over(legacy::Client::builder(TokioExecutor::new()).build(connector))
    }

    fn over<S, B>(service: S) -> Self
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self(Arc::new(move |request| {
            let mut service = service.clone();
            Box::pin(async move {
                let ready = poll_fn(|context| service.poll_ready(context)).await;
                ready.map_err(Into::into)?;
                let answer = service.call(request).await.map_err(Into::into)?;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        }))
    }
}

/// The members of a cluster. Cheap to clone.
///
/// A request that nobody waits for any longer is dropped with its connection, and the next one goes to another member.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    transport: Transport,
    endpoints: Vec<String>,
    /// Counts up whenever one has failed; the rest of a division by their number is the one that is asked.
    turn: AtomicUsize,
}

impl Client {
    /// Reaches members by addresses such as `http://127.0.0.1:2379`.
    ///
    /// # Errors
    ///
    /// There is none, one is not an address, or needs TLS.
    pub fn plain(endpoints: Vec<String>) -> Result<Self, Invalid> {
        for endpoint in &endpoints {
            if endpoint
                .parse::<Uri>()
                .is_ok_and(|uri| uri.scheme_str() == Some("https"))
            {
                let limit = "needs a client of your own, one that speaks TLS";
                return Err(Invalid::new("endpoints", endpoint, limit));
            }
        }
        Self::new(Transport::plain(), endpoints)
    }

    /// Reaches them by a client of the user's own, such as a `hyper_util` client that speaks TLS.
    ///
    /// It has to send each request to the address that it names, and to drop the connection of a request whose answer
    /// nobody waits for any longer.
    ///
    /// # Errors
    ///
    /// There is none, or one is not an address.
    pub fn over<S, B>(service: S, endpoints: Vec<String>) -> Result<Self, Invalid>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self::new(Transport::over(service), endpoints)
    }

    fn new(transport: Transport, mut endpoints: Vec<String>) -> Result<Self, Invalid> {
        let limit = "must be one or more addresses such as http://127.0.0.1:2379";
        if endpoints.is_empty() {
            return Err(Invalid::new("endpoints", "[]", limit));
        }
        for endpoint in &mut endpoints {
            let is_base = |uri: &Uri| uri.authority().is_some() && uri.path() == "/";
            if !endpoint.parse().is_ok_and(|uri| is_base(&uri)) {
                return Err(Invalid::new("endpoints", &*endpoint, limit));
            }
            endpoint.truncate(endpoint.trim_end_matches('/').len());
        }
        Ok(Self(Arc::new(Shared {
            transport,
            endpoints,
            turn: AtomicUsize::new(0),
        })))
    }

    /// Asks one member after the other, each once, until one answers, with at most so many bytes.
    ///
    /// # Errors
    ///
    /// None has, or one refuses.
    pub async fn ask<A: DeserializeOwned>(
        &self,
        path: &str,
        question: &Value,
        most: usize,
    ) -> Result<A, Failure> {
        let mut failed = Failure::Late;
        for _ in &self.0.endpoints {
            let mut turn = self.turn();
            let asked = tokio::time::timeout(PATIENCE, self.ask_one(&turn, path, question, most));
            match asked.await.unwrap_or(Err(Failure::Late)) {
                Err(failure) if failure.is_the_members() => failed = failure,
                answered => {
                    turn.stay();
                    return answered;
                }
            }
        }
        Err(failed)
    }

    async fn ask_one<A: DeserializeOwned>(
        &self,
        turn: &Turn<'_>,
        path: &str,
        question: &Value,
        most: usize,
    ) -> Result<A, Failure> {
        let body = self.send(turn, path, question, most).await?;
        first(&read(body, most).await?)
    }

    /// The body of an answer that is not a refusal.
    pub(crate) async fn send(
        &self,
        turn: &Turn<'_>,
        path: &str,
        question: &Value,
        most: usize,
    ) -> Result<Answer, Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v3/{path}", turn.endpoint))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(question.to_string()))
            .map_err(|error| Failure::Transport(error.into()))?;
        let answer = (self.0.transport.0)(request).await;
        let (parts, body) = answer.map_err(Failure::Transport)?.into_parts();
        if parts.status == StatusCode::OK {
            return Ok(body);
        }
        let body = read(body, most).await?;
        let Refusal { code, message } = first(&body).unwrap_or(Refusal {
            code: codes::UNAVAILABLE,
            message: format!("HTTP status {}", parts.status),
        });
        Err(Failure::Refused { code, message })
    }

    /// The member whose turn it is.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let number = self.0.turn.load(Relaxed);
        let endpoints = &self.0.endpoints;
        Turn {
            now: &self.0.turn,
            number,
            endpoint: &endpoints[number % endpoints.len()],
            stays: false,
        }
    }
}

/// The member that is asked now. It is left for the next unless it stays: also when nobody waits for it any longer.
#[derive(Debug)]
pub(crate) struct Turn<'c> {
    now: &'c AtomicUsize,
    number: usize,
    endpoint: &'c str,
    stays: bool,
}

impl Turn<'_> {
    pub(crate) fn stay(&mut self) {
        self.stays = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.stays {
            let next = self.number.wrapping_add(1);
            // Somebody else may have left it before.
            let _ = self
                .now
                .compare_exchange(self.number, next, Relaxed, Relaxed);
        }
    }
}

async fn read(mut body: Answer, most: usize) -> Result<BytesMut, Failure> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Failure::Transport)?.into_data() {
            if read.len() + data.len() > most {
                return Err(Failure::TooLong);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read)
}

/// The first of the messages in an answer.
pub(crate) fn first<A: DeserializeOwned>(body: &[u8]) -> Result<A, Failure> {
    let mut messages = serde_json::Deserializer::from_slice(body).into_iter();
    let message = messages.next().and_then(Result::ok);
    message.ok_or(Failure::Answer("it can't be read"))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.endpoints).finish()
    }
}
