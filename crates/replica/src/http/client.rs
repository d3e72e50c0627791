use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::Invalid;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::try_unfold;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::follow::Follows;
use crate::{Codec, Session, Source, SourceError, Start};

/// What a client may fail with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A page is of half a thousand keys or a mebibyte, and one value more.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(5);

/// What another service serves by a [`Feed`](crate::Feed), or by the same protocol.
///
/// It asks with `If-None-Match` and `Prefer: wait`: the answer comes when something has changed, or in half a heartbeat.
/// Its age counts from before the question, so a connection on which nothing comes any more proves nothing.
pub struct HttpSource<K, V> {
    client: Client,
    codec: Codec<K, V>,
}

impl<K, V> HttpSource<K, V> {
    /// Asks at a URL that begins with `http://`. Keys by their `FromStr`, values from JSON.
    ///
    /// # Errors
    ///
    /// The URL can't be asked: for TLS, and for headers of one's own, see [`with_client`](Self::with_client).
    pub fn new(url: &str) -> Result<Self, Invalid>
    where
        K: FromStr<Err: Into<BoxError>>,
        V: DeserializeOwned,
    {
        let uri = parse(url)?;
        if uri.scheme_str() != Some("http") {
            let limit = "must begin with http://; `with_client` takes a client that speaks TLS";
            return Err(Invalid::new("url", url, limit));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Self::with_client(client, url)
    }

    /// Asks by a client of the user's own: one that speaks TLS, or says who asks.
    ///
    /// A `hyper_util` client is one. It has to drop the connection of a request whose answer nobody waits for any longer,
    /// and must not answer from a cache.
    ///
    /// # Errors
    ///
    /// It is not a URL.
    pub fn with_client<S, B>(client: S, url: &str) -> Result<Self, Invalid>
    where
        K: FromStr<Err: Into<BoxError>>,
        V: DeserializeOwned,
        S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Ok(Self {
            client: Client::new(client, parse(url)?),
            codec: Codec::json(),
        })
    }

    /// Reads keys and values by another codec.
    pub fn codec<L, W>(self, codec: Codec<L, W>) -> HttpSource<L, W> {
        HttpSource {
            client: self.client,
            codec,
        }
    }
}

fn parse(url: &str) -> Result<Uri, Invalid> {
    let uri = url.parse::<Uri>().ok();
    let uri = uri.filter(|uri| uri.authority().is_some() && uri.query().is_none());
    let limit = "must be a URL with a host and without a query";
    uri.ok_or_else(|| Invalid::new("url", url, limit))
}

impl<K: Send + 'static, V: Send + 'static> Source<K, V> for HttpSource<K, V> {
    fn name(&self) -> String {
        self.client.url.to_string()
    }

    fn open(&self, start: Start) -> Session<K, V> {
        let follows = Follows::new(self.client.clone(), self.codec.clone(), start);
        try_unfold(follows, |mut follows| async move {
            let news = follows.next().await?;
            Ok(Some((news, follows)))
        })
        .boxed()
    }
}

type Answer = UnsyncBoxBody<Bytes, BoxError>;
type Sent = BoxFuture<'static, Result<Response<Answer>, BoxError>>;

/// Sends questions; cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    send: Arc<dyn Fn(Request<Empty<Bytes>>) -> Sent + Send + Sync>,
    url: Uri,
}

impl Client {
    fn new<S, B>(service: S, url: Uri) -> Self
    where
        S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let send = move |request| -> Sent {
            let mut service = service.clone();
            Box::pin(async move {
                let ready = poll_fn(|context| service.poll_ready(context)).await;
                ready.map_err(Into::into)?;
                let answer = service.call(request).await.map_err(Into::into)?;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        };
        Self {
            send: Arc::new(send),
            url,
        }
    }

    /// The body of an answer; none where nothing has changed since what `headers` say is held.
    pub(super) async fn ask(
        self,
        query: String,
        headers: HeaderMap,
    ) -> Result<Option<Bytes>, SourceError> {
        let held = headers.get(IF_NONE_MATCH).cloned();
        let mut request = Request::get(format!("{}{query}", self.url));
        if let Some(all) = request.headers_mut() {
            *all = headers;
        }
        let request = request.body(Empty::new()).map_err(SourceError::new)?;
        let answer = (self.send)(request).await.map_err(SourceError::boxed)?;
        let (parts, body) = answer.into_parts();
        match parts.status {
            StatusCode::NOT_MODIFIED
                if strong(parts.headers.get(ETAG)) == strong(held.as_ref()) =>
            {
                Ok(None)
            }
            StatusCode::NOT_MODIFIED => Err(SourceError::new("an answer to another question")),
            StatusCode::OK => whole(body).await.map(Some),
            status => Err(SourceError::new(format!("the server answers {status}"))),
        }
    }
}

/// A tag without the mark of a proxy that has changed how the body is sent.
fn strong(tag: Option<&HeaderValue>) -> Option<&[u8]> {
    let tag = tag?.as_bytes();
    Some(tag.strip_prefix(b"W/").unwrap_or(tag))
}

async fn whole(mut body: Answer) -> Result<Bytes, SourceError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(SourceError::boxed)?.into_data() {
            if read.len() + data.len() > ANSWER_BYTES {
                return Err(SourceError::new("the answer has no end"));
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}

impl<K, V> fmt::Debug for HttpSource<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpSource").field(&self.client.url).finish()
    }
}
