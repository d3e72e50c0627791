//! One HTTP/1.1 client an arm, with its own connection pool.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// Enough for an arm that works; what a storm leaves over is closed.
const IDLE_CONNECTIONS: usize = 64;

/// Why a call or an attempt has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("deadline exceeded")]
    DeadlineExceeded,
    #[error("{0}")]
    Refused(&'static str),
    #[error("connection failed: {0}")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The server of one arm as its client sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    http: legacy::Client<Connector, Empty<Bytes>>,
    address: SocketAddr,
}

impl Dependency {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // A request is an attempt of the arm, so nothing below may repeat it.
            .retry_canceled_requests(false)
            .build(Connector { address });
        Self { http, address }
    }

    /// Sends one attempt and reads the whole answer, whatever its status.
    ///
    /// Attempts of a call are numbered from 0. Dropping the future closes the connection.
    pub(crate) async fn send(
        &self,
        call: u64,
        attempt: u32,
        headers: HeaderMap,
    ) -> Result<response::Parts, Failure> {
        let mut request = Request::get(format!("http://{}/calls/{call}/{attempt}", self.address))
            .body(Empty::new())
            .map_err(|error| Failure::Connection(error.into()))?;
        *request.headers_mut() = headers;
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|error| Failure::Connection(error.into()))?;
        let (parts, body) = answer.into_parts();
        // Reading to the end gives the connection back to the pool.
        body.collect()
            .await
            .map_err(|error| Failure::Connection(error.into()))?;
        Ok(parts)
    }

    /// As [`send`](Self::send), with every status but 2xx as a failure.
    pub(crate) async fn attempt(
        &self,
        call: u64,
        attempt: u32,
        headers: HeaderMap,
    ) -> Result<(), Failure> {
        let parts = self.send(call, attempt, headers).await?;
        if parts.status.is_success() {
            Ok(())
        } else {
            Err(Failure::Status(parts.status))
        }
    }
}

/// Connects to one address; a closed connection leaves nothing behind.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) address: SocketAddr,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.address;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            // Callers that give up close hundreds of connections a second. Without this each would
            // hold its port in TIME_WAIT for a minute, until none is left.
            stream.set_zero_linger()?;
            Ok(TokioIo::new(stream))
        })
    }
}
