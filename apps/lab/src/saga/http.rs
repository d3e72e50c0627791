//! Requests between processes, each by a connection of its own, so that none finds one that has died meanwhile.

use std::net::SocketAddr;

use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;

use crate::engine::client::Connector;

/// Answered as 503: nobody says what was done.
pub(crate) struct Failed;

impl IntoResponse for Failed {
    fn into_response(self) -> axum::response::Response {
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(_: E) -> Self {
        Self
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("nobody is there")]
    NotSent,
    #[error("the connection was lost")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl NoAnswer {
    fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Lost(error.into())
    }
}

/// Sends one request as JSON and reads the whole answer, whatever its status.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    headers: HeaderMap,
    asked: &impl Serialize,
) -> Result<Response<Bytes>, NoAnswer> {
    let asked = serde_json::to_vec(asked).map_err(NoAnswer::lost)?;
    post_bytes(address, path, headers, asked.into()).await
}

/// Sends one request and reads the whole answer, whatever its status.
pub(crate) async fn post_bytes(
    address: SocketAddr,
    path: &str,
    headers: HeaderMap,
    asked: Bytes,
) -> Result<Response<Bytes>, NoAnswer> {
    let mut request = Request::post(format!("http://{address}/{path}"))
        .body(Full::new(asked))
        .map_err(NoAnswer::lost)?;
    *request.headers_mut() = headers;
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .retry_canceled_requests(false)
        .build(Connector { address });
    let answer = client.request(request).await.map_err(|error| {
        if error.is_connect() {
            NoAnswer::NotSent
        } else {
            NoAnswer::lost(error)
        }
    })?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(NoAnswer::lost)?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}
