//! Our own answers, as problem details (RFC 9457).

use std::time::Duration;

use backstay_core::Effect;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::settle::EFFECT;
use crate::options;

/// Why a request is not handled, or not answered as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    KeyMissing,
    KeyMalformed,
    BodyTooLarge,
    BodyBroken,
    KeyReused,
    UndoesMalformed,
    UndoNotOffered,
    Withdrawn(Effect),
    StillRunning,
    UndoneRunning,
    TakenOver,
    AnswerNotKept,
    AnswerBroken,
    RecordUnreadable,
    StoreUnavailable,
}

impl Problem {
    /// Status, name, text, and what the request has done.
    fn parts(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::KeyMissing => (
                400,
                "key-missing",
                "this request needs an Idempotency-Key header",
                "not-executed",
            ),
            Self::KeyMalformed => (
                400,
                "key-malformed",
                "there must be one Idempotency-Key header with one string of 1 to 255 printable ASCII characters, \
                 in double quotes if it has a space, comma, semicolon, quote or backslash",
                "not-executed",
            ),
            Self::BodyTooLarge => (
                413,
                "body-too-large",
                "the body is larger than a request with a key may be",
                "not-executed",
            ),
            Self::BodyBroken => (
                400,
                "body-broken",
                "the body ended before it was complete",
                "not-executed",
            ),
            Self::KeyReused => (
                422,
                "key-reused",
                "this Idempotency-Key was used for another request",
                "not-executed",
            ),
            Self::UndoesMalformed => (
                400,
                "undoes-malformed",
                "the Backstay-Undoes header must be one string of 1 to 255 printable ASCII characters",
                "not-executed",
            ),
            Self::UndoNotOffered => (
                501,
                "undo-not-offered",
                "this route does not withdraw keys, so the Backstay-Undoes header can't be followed",
                "not-executed",
            ),
            Self::Withdrawn(before) => (
                410,
                "withdrawn",
                "this Idempotency-Key was withdrawn by an undo: its request is not to be done any more",
                match before {
                    Effect::NotExecuted => "not-executed",
                    _ => "unknown",
                },
            ),
            Self::StillRunning => (
                409,
                "still-running",
                "a request with this Idempotency-Key is being handled; ask again",
                "unknown",
            ),
            Self::UndoneRunning => (
                409,
                "undone-running",
                "the request that is to be undone is being handled; ask again",
                "unknown",
            ),
            Self::TakenOver => (
                409,
                "taken-over",
                "this request was not answered in time, and another process may be at it; ask again",
                "unknown",
            ),
            Self::AnswerNotKept => (
                409,
                "answer-not-kept",
                "the request was handled, and its answer was too large to be kept",
                "executed",
            ),
            Self::AnswerBroken => (
                500,
                "answer-broken",
                "the handler's answer ended before it was complete",
                "unknown",
            ),
            Self::RecordUnreadable => (
                500,
                "record-unreadable",
                "what is kept under this Idempotency-Key can't be read",
                "unknown",
            ),
            Self::StoreUnavailable => (
                503,
                "store-unavailable",
                "what is kept under this Idempotency-Key can't be looked up now",
                "not-executed",
            ),
        }
    }

    fn retry_after(self) -> Option<Duration> {
        let again = matches!(
            self,
            Self::StillRunning | Self::UndoneRunning | Self::TakenOver | Self::StoreUnavailable
        );
        again.then_some(options::RETRY_AFTER)
    }

    pub(super) fn response(self) -> Response<Bytes> {
        #[derive(Serialize)]
        struct Details {
            r#type: String,
            title: &'static str,
            status: u16,
        }
        let (status, name, title, effect) = self.parts();
        let details = Details {
            r#type: format!("urn:backstay:idempotency:{name}"),
            title,
            status,
        };
        let body = serde_json::to_vec(&details).expect("text and a number");
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = StatusCode::from_u16(status).expect("listed above");
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(EFFECT, HeaderValue::from_static(effect));
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, wait.as_secs().into());
        }
        response
    }
}
