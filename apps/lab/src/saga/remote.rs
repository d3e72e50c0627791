//! The participants, as the orchestrator sees them.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};

use super::gate::{Gate, Place, Point};
use super::http::{NoAnswer, post};
use super::order::{Call, Order};
use super::participant::Asked;

/// Calls participants, wherever they are. Cheap to clone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    gate: Gate,
}

/// Why a call was not done, as far as its answer says.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("refused")]
    Refused,
    /// Nothing has happened.
    #[error("not executed: {0}")]
    NotExecuted(String),
    /// Somebody is at it, or has died at it.
    #[error("ask again in {0:?}")]
    Wait(Duration),
    #[error("unknown: {0}")]
    Unknown(String),
}

impl Remote {
    pub(super) fn new(gate: Gate) -> Self {
        Self { gate }
    }

    /// Calls once. `of` is the effect that the call changes or takes back; the answer is the effect that it has.
    pub(super) async fn call(
        self,
        order: Order,
        call: Call,
        of: Option<i64>,
        headers: HeaderMap,
    ) -> Result<i64, CallError> {
        let unknown = |error: anyhow::Error| CallError::Unknown(error.to_string());
        let at = |place| Point {
            order: order.number,
            call,
            place,
        };
        let addresses = self.gate.pass(at(Place::Before)).await.map_err(unknown)?;
        let Some(address) = addresses.of(call.of()) else {
            return Err(CallError::NotExecuted(NoAnswer::NotSent.to_string()));
        };
        let asked = Asked { order, of };
        let answer = match post(address, call.name(), headers, &asked).await {
            Ok(answer) => answer,
            Err(error @ NoAnswer::NotSent) => {
                return Err(CallError::NotExecuted(error.to_string()));
            }
            Err(error) => return Err(CallError::Unknown(error.to_string())),
        };
        self.gate.pass(at(Place::Replied)).await.map_err(unknown)?;
        read(&answer)
    }
}

fn read(answer: &Response<Bytes>) -> Result<i64, CallError> {
    let header = |name: &str| answer.headers().get(name)?.to_str().ok();
    let body = String::from_utf8_lossy(answer.body());
    let (status, said) = (answer.status(), format!("{} {body}", answer.status()));
    if status.is_success() {
        return body.parse().map_err(|_| CallError::Unknown(said));
    }
    if status == StatusCode::FORBIDDEN {
        return Err(CallError::Refused);
    }
    if status == StatusCode::CONFLICT
        && let Some(seconds) = header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok())
    {
        return Err(CallError::Wait(Duration::from_secs(seconds)));
    }
    if header("backstay-effect") == Some("not-executed") {
        return Err(CallError::NotExecuted(said));
    }
    Err(CallError::Unknown(said))
}
