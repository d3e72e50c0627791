use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use backstay_store::{Batch, Position};
use http::Response;

use super::kept::KeptResponse;
use crate::Guard;
use crate::records::Claim;

/// A request's claim, among its extensions: for handlers that commit their answer with their own rows.
///
/// Requests without a key have none: take `Option<Extension<IdempotencyGuard>>` where the layer does not require one.
///
/// ```
/// use axum::Extension;
/// use axum::body::Body;
/// use axum::extract::State;
/// use axum::http::StatusCode;
/// use axum::response::{IntoResponse, Response};
/// use backstay_idempotency::IdempotencyGuard;
/// use backstay_store::{Batch, SqliteStore};
///
/// async fn charge(State(store): State<SqliteStore>, Extension(guard): Extension<IdempotencyGuard>) -> Response {
///     let answer = http::Response::builder().status(201).body("charged").expect("a response");
///     let insert = "INSERT INTO charges VALUES (7)";
///     let Ok(batch) = guard.answer_in(Batch::new(), &answer) else {
///         return StatusCode::INTERNAL_SERVER_ERROR.into_response();
///     };
///     match store.commit_with(batch, |rows| rows.execute(insert, [])).await {
///         Ok(_) => answer.map(Body::from),
///         // Open: the next try runs again.
///         Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct IdempotencyGuard {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: String,
    claim: Claim,
    revision: Position,
    cap: usize,
    is_answered: AtomicBool,
}

/// Why an answer can't be part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It is larger than the layer keeps, or than a value of the store may be.
    #[error("the answer has {size} bytes, {cap} are kept at most")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What `answer_bytes` or the store's `value_bytes` says.
        cap: usize,
    },
}

impl IdempotencyGuard {
    pub(super) fn new(key: String, guard: &Guard, cap: usize) -> Self {
        let (claim, revision) = guard.claim();
        Self {
            shared: Arc::new(Shared {
                key,
                claim: claim.clone(),
                revision,
                cap,
                is_answered: AtomicBool::new(false),
            }),
        }
    }

    /// The key as the client sent it. Take it along in calls to other services.
    pub fn key(&self) -> &str {
        &self.shared.key
    }

    /// Adds the answer to a batch of the handler's own: it is kept together with what the batch changes, and its rows.
    ///
    /// The batch is refused with a conflict when another process has taken over. Once it is committed, this answer is
    /// what the layer sends, whatever the handler returns: its status, body and headers. Other headers of the handler's
    /// response, and of layers inside, go to this caller only.
    ///
    /// # Errors
    ///
    /// [`AnswerError::TooLarge`] when the body is larger than `answer_bytes`, or all of it than a value of the store.
    pub fn answer_in(
        &self,
        batch: Batch,
        answer: &Response<impl AsRef<[u8]>>,
    ) -> Result<Batch, AnswerError> {
        let shared = &*self.shared;
        let body = answer.body().as_ref();
        let (size, cap) = (body.len(), shared.cap);
        if size > cap {
            return Err(AnswerError::TooLarge { size, cap });
        }
        let kept = KeptResponse::new(answer.status(), answer.headers(), body);
        let cap = shared.claim.records.store.limits().value_bytes;
        let raw = kept.raw(cap).ok_or(AnswerError::TooLarge { size, cap })?;
        shared.is_answered.store(true, SeqCst);
        Ok(shared.claim.finish(batch, shared.revision, &raw))
    }

    /// Whether the answer may have been committed by the handler.
    pub(super) fn is_answered(&self) -> bool {
        self.shared.is_answered.load(SeqCst)
    }
}
