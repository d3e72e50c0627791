//! What a caller gets, and what is kept of it.

use backstay_core::Effect;
use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, RETRY_AFTER, TRAILER, TRANSFER_ENCODING,
};
use http::response::Parts;
use http::{HeaderName, HeaderValue, Response};
use http_body::Body;

use super::body::{Answer, AnswerBody, read_answer};
use super::guard::IdempotencyGuard;
use super::kept::{KeptResponse, REPLAYED, Replay};
use super::problem::Problem;
use super::service::Shared;
use super::settle::{EFFECT, Settle};
use crate::records::{Claim, LookError, Seen};
use crate::{FinishError, Guard, Kept};

/// What a response says of its own body and outcome, which are not those that are kept.
const OF_ITS_BODY: [HeaderName; 12] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    RETRY_AFTER,
    TRAILER,
    TRANSFER_ENCODING,
    EFFECT,
];

pub(super) fn problem<R>(problem: Problem) -> Response<AnswerBody<R>> {
    problem.response().map(AnswerBody::whole)
}

/// The answer of an earlier request.
pub(super) fn replay<R>(kept: &Kept) -> Response<AnswerBody<R>> {
    match kept.answer::<KeptResponse>().map(KeptResponse::replay) {
        Ok(Replay::Response(mut response)) => {
            let yes = HeaderValue::from_static("true");
            response.headers_mut().insert(REPLAYED, yes);
            response.map(AnswerBody::whole)
        }
        Ok(Replay::NotKept) => problem(Problem::AnswerNotKept),
        Ok(Replay::Malformed) | Err(_) => problem(Problem::RecordUnreadable),
    }
}

/// Keeps the handler's answer, frees the key or leaves it open, and gives the answer on.
pub(super) async fn settle<R>(
    shared: &Shared,
    guard: Guard,
    extension: &IdempotencyGuard,
    response: Response<R>,
) -> Response<AnswerBody<R>>
where
    R: Body<Data = Bytes> + Unpin,
{
    let (claim, _) = guard.claim();
    let claim = claim.clone();
    if extension.is_answered() {
        match claim.records.look(&claim.names, &claim.fingerprint).await {
            Ok(Seen::Finished(kept)) => {
                guard.done();
                return told(&kept, &claim, Some(response.into_parts().0));
            }
            // It was not committed, or is withdrawn since: then what the handler says counts.
            Ok(_) | Err(LookError::Withdrawn(_)) => {}
            Err(_) => return response.map(AnswerBody::untouched),
        }
    }
    let value_bytes = claim.records.store.limits().value_bytes;
    let (parts, kept, body) = match Settle::after(&response) {
        Settle::Keep => {
            let (parts, body) = response.into_parts();
            match read_answer(body, shared.answer_bytes).await {
                Answer::Whole(bytes) => {
                    let kept = KeptResponse::new(parts.status, &parts.headers, &bytes);
                    (parts, kept.raw(value_bytes), AnswerBody::whole(bytes))
                }
                Answer::More(body) => (parts, None, body),
                Answer::Broken => {
                    // If it can't be said now, it is said by the run's expiry.
                    let _ = guard.leave_open().await;
                    return problem(Problem::AnswerBroken);
                }
            }
        }
        ended => {
            let _ = match ended {
                Settle::Free => guard.free().await,
                _ => guard.leave_open().await,
            };
            return response.map(AnswerBody::untouched);
        }
    };
    let kept = kept.or_else(|| KeptResponse::too_large(parts.status).raw(value_bytes));
    let finished = match kept {
        Some(raw) => guard.finish_raw(raw).await,
        // A store that can't keep a status.
        None => Ok(()),
    };
    match finished {
        // What the handler has done is done. The answer may be kept yet: that goes on in the background.
        Ok(()) | Err(FinishError::Commit(_) | FinishError::Answer(_)) => {
            Response::from_parts(parts, body)
        }
        Err(FinishError::TakenOver | FinishError::Gone) => overtaken(&claim).await,
    }
}

/// Somebody else is at it, or it took too long: what is kept counts, if there is something.
pub(super) async fn overtaken<R>(claim: &Claim) -> Response<AnswerBody<R>> {
    match claim.records.look(&claim.names, &claim.fingerprint).await {
        Ok(Seen::Finished(kept)) => told(&kept, claim, None),
        // The handler was at it all the same.
        Err(LookError::Withdrawn(_)) => problem(Problem::Withdrawn(Effect::Unknown)),
        _ => problem(Problem::TakenOver),
    }
}

/// What is kept is what is told: marked as replayed unless it is this request's own. Then it has what the handler and the
/// layers inside have put on the response: cookies, what a browser asks for.
fn told<R>(kept: &Kept, claim: &Claim, live: Option<Parts>) -> Response<AnswerBody<R>> {
    let mut response = replay(kept);
    if !claim.is_by(&kept.owner) {
        return response;
    }
    response.headers_mut().remove(REPLAYED);
    let Some(live) = live else {
        return response;
    };
    let (mut parts, body) = response.into_parts();
    let mut headers = live.headers;
    for name in OF_ITS_BODY {
        headers.remove(name);
    }
    // A name that is in both has the values that are kept.
    headers.extend(parts.headers);
    parts.headers = headers;
    parts.extensions = live.extensions;
    Response::from_parts(parts, body)
}
