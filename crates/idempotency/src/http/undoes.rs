use bytes::Bytes;
use http::{HeaderName, Response};

use super::kept::{KeptResponse, Replay};
use super::problem::Problem;
use crate::Withdrawn;

pub(super) const UNDOES: HeaderName = HeaderName::from_static("backstay-undoes");

/// What was known of the request that this one undoes, among its extensions.
///
/// A request with `backstay-undoes: "<key>"` has it. The key is withdrawn before the handler runs, and a repeat of the
/// undo is told the same.
///
/// ```
/// use axum::Extension;
/// use axum::http::StatusCode;
/// use backstay_idempotency::Undoes;
///
/// async fn refund(Extension(charge): Extension<Undoes>) -> StatusCode {
///     match charge {
///         // Find it by what was answered, and give the money back.
///         Undoes::Done(_answer) => StatusCode::OK,
///         Undoes::Unseen => StatusCode::OK,
///         // Ask those who were charged with.
///         Undoes::Unknown => StatusCode::OK,
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub enum Undoes {
    /// It was done, with this answer; none where that was too large to keep.
    Done(Option<Response<Bytes>>),
    /// See [`Withdrawn::Unseen`].
    Unseen,
    /// See [`Withdrawn::Unknown`].
    Unknown,
}

impl Undoes {
    pub(super) fn of(was: &Withdrawn) -> Result<Self, Problem> {
        let kept = match was {
            Withdrawn::Done(kept) => kept,
            Withdrawn::Unseen => return Ok(Self::Unseen),
            Withdrawn::Unknown => return Ok(Self::Unknown),
        };
        match kept.answer::<KeptResponse>().map(KeptResponse::replay) {
            Ok(Replay::Response(response)) => Ok(Self::Done(Some(response))),
            Ok(Replay::NotKept) => Ok(Self::Done(None)),
            Ok(Replay::Malformed) | Err(_) => Err(Problem::RecordUnreadable),
        }
    }
}
