//! Who places orders, each of them once, and what they are told.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use backstay::{CallError, Classified, Effect, HttpClassifier, Pipeline};
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::{Arm, Way};
use crate::arms::article::MAX_RETRIES;
use crate::arms::article::retry::retry_with_backoff;
use crate::arms::article::timeout::call_with_timeout;
use crate::engine::client::{Connector, Failure};
use crate::engine::draw::{Purpose, unit};

/// The article's.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most attempts that any arm makes for an order.
pub(crate) const ATTEMPTS: usize = 3;

/// Sends requests for orders to one address. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    http: Client<Connector, Full<Bytes>>,
    address: SocketAddr,
}

impl Orders {
    pub(crate) fn at(address: SocketAddr) -> Self {
        let http = Client::builder(TokioExecutor::new())
            // A request is an attempt of the arm, so nothing below may repeat it.
            .retry_canceled_requests(false)
            .build(Connector { address });
        Self { http, address }
    }

    /// Sends one request and reads the whole answer, whatever its status.
    pub(crate) async fn send(
        &self,
        order: u64,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, Failure> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| Failure::Connection(error);
        for of_connection in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
            headers.remove(of_connection);
        }
        let mut request = Request::post(format!("http://{}/orders/{order}", self.address))
            .body(Full::new(body))
            .map_err(|error| failed(error.into()))?;
        *request.headers_mut() = headers;
        let answer = self.http.request(request).await;
        let (parts, body) = answer.map_err(|error| failed(error.into()))?.into_parts();
        let body = body.collect().await.map_err(|error| failed(error.into()))?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    }
}

/// What a customer knows in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// With the receipt, where there is one.
    Done(Option<i64>),
    Failed(Said),
}

/// What a failure says of what it has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Certainly nothing.
    Nothing,
    /// It may have happened.
    Perhaps,
    /// It has no word for it.
    NoWord,
}

/// The customers of one arm.
#[derive(Debug)]
pub(crate) struct Customers {
    arm: Arm,
    seed: u64,
    orders: Orders,
    pipeline: Classified<HttpClassifier>,
}

impl Customers {
    pub(crate) fn new(arm: Arm, seed: u64, server: SocketAddr) -> anyhow::Result<Self> {
        let pipeline = Pipeline::builder("orders").build()?;
        Ok(Self {
            arm,
            seed,
            orders: Orders::at(server),
            pipeline: pipeline.classified(HttpClassifier),
        })
    }

    /// Places this order once, as its customer sees it.
    pub(crate) async fn place(&self, order: u64) -> Told {
        match self.arm.way {
            Way::None => {
                let sent = timeout(TIMEOUT, self.send(order, HeaderMap::new())).await;
                let sent = sent.unwrap_or(Err(Failure::DeadlineExceeded));
                match sent.and_then(good) {
                    Ok(answer) => Told::Done(receipt(&answer)),
                    Err(_) => Told::Failed(Said::NoWord),
                }
            }
            Way::Article => {
                let attempt = async || {
                    let answer = self.send(order, HeaderMap::new()).await?;
                    good(answer).map(drop)
                };
                let call = |_| call_with_timeout(attempt(), TIMEOUT);
                let random = |attempt| unit(self.seed, Purpose::Jitter, order, attempt);
                match retry_with_backoff(call, MAX_RETRIES, random).await {
                    Ok(()) => Told::Done(None),
                    Err(_) => Told::Failed(Said::NoWord),
                }
            }
            Way::NoKey => {
                let call = self
                    .pipeline
                    .call_idempotent(|attempt| self.send(order, attempt.headers()));
                told(call.await)
            }
            Way::Backstay => {
                let key = format!("order-{order}");
                let call = self
                    .pipeline
                    .call_keyed(key, |attempt| self.send(order, attempt.headers()));
                told(call.await)
            }
        }
    }

    async fn send(&self, order: u64, headers: HeaderMap) -> Result<Response<Bytes>, Failure> {
        let asked = Bytes::from_static(b"one pot of tea");
        self.orders.send(order, headers, asked).await
    }
}

fn good(answer: Response<Bytes>) -> Result<Response<Bytes>, Failure> {
    if answer.status().is_success() {
        Ok(answer)
    } else {
        Err(Failure::Status(answer.status()))
    }
}

fn receipt(answer: &Response<Bytes>) -> Option<i64> {
    std::str::from_utf8(answer.body()).ok()?.parse().ok()
}

fn told(called: Result<Response<Bytes>, CallError<Failure>>) -> Told {
    let nothing = match called {
        Ok(answer) if answer.status().is_success() => return Told::Done(receipt(&answer)),
        Ok(answer) => {
            let said = answer.headers().get("backstay-effect");
            said.is_some_and(|effect| effect == "not-executed")
        }
        Err(error) => error.effect() == Effect::NotExecuted,
    };
    Told::Failed(if nothing {
        Said::Nothing
    } else {
        Said::Perhaps
    })
}
