//! What is told to whoever is refused: `application/problem+json`, and that nothing was done.

use std::fmt::Write;

use backstay_store::CommitError;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::header::{self, HEADER, Malformed};
use crate::leases::lease_of_fence;

const EFFECT: HeaderName = HeaderName::from_static("backstay-effect");

/// The answer to a request whose own write was fenced; none if the error is another one.
///
/// For a handler that has put the [`Fence`](super::Fence) of its request on its batch. Nothing was changed by that batch.
///
/// ```
/// # use backstay_lease::fencing::refusal;
/// # use backstay_store::CommitError;
/// fn told(error: &CommitError) -> http::Response<String> {
///     refusal(error).unwrap_or_else(|| {
///         let mut response = http::Response::new(error.to_string());
///         *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
///         response
///     })
/// }
/// ```
pub fn refusal<R: From<String>>(error: &CommitError) -> Option<Response<R>> {
    match error {
        CommitError::Fenced {
            name,
            token,
            highest,
            ..
        } => {
            let name = lease_of_fence(name).unwrap_or(name);
            Some(stale(name, *token, Some(*highest)))
        }
        _ => None,
    }
}

/// 412: a later leader has written.
pub(super) fn stale<R: From<String>>(name: &str, token: u64, highest: Option<u64>) -> Response<R> {
    let mut members = format!(r#","name":{},"token":{token}"#, quoted(name));
    if let Some(highest) = highest {
        // Writing to a string does not fail.
        let _ = write!(members, r#","highest":{highest}"#);
    }
    let mut response = problem(
        StatusCode::PRECONDITION_FAILED,
        "the fencing token is stale",
        &members,
    );
    // What a mark has that came another way may be too long for the header.
    if let Some(value) = highest.and_then(|highest| header::write(name, highest).ok()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// 400: nobody can tell what the header means.
pub(super) fn malformed<R: From<String>>(Malformed(why): Malformed) -> Response<R> {
    let detail = format!(r#","detail":{}"#, quoted(why));
    problem(
        StatusCode::BAD_REQUEST,
        "the fencing token is malformed",
        &detail,
    )
}

/// 428: the header is needed.
pub(super) fn missing<R: From<String>>() -> Response<R> {
    problem(
        StatusCode::PRECONDITION_REQUIRED,
        "a fencing token is required",
        "",
    )
}

/// 403: this lease does not protect anything here.
pub(super) fn unknown_name<R: From<String>>(name: &str) -> Response<R> {
    let name = format!(r#","name":{}"#, quoted(name));
    problem(
        StatusCode::FORBIDDEN,
        "no such lease is accepted here",
        &name,
    )
}

/// 403: nobody has got this token.
pub(super) fn not_issued<R: From<String>>(name: &str, token: u64) -> Response<R> {
    let members = format!(r#","name":{},"token":{token}"#, quoted(name));
    problem(
        StatusCode::FORBIDDEN,
        "the fencing token was not issued",
        &members,
    )
}

/// 503: whether it is stale can't be told now.
pub(super) fn unavailable<R: From<String>>() -> Response<R> {
    let mut response = problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "the fencing token can't be checked",
        "",
    );
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn problem<R: From<String>>(status: StatusCode, title: &str, members: &str) -> Response<R> {
    let text = format!(
        r#"{{"title":{},"status":{},"effect":"not-executed"{members}}}"#,
        quoted(title),
        status.as_u16()
    );
    let mut response = Response::new(R::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(EFFECT, HeaderValue::from_static("not-executed"));
    response
}

/// As JSON has it. No text here has control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}
