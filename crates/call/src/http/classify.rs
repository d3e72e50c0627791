use std::error::Error;
use std::io;
use std::iter;
use std::time::SystemTime;

use backstay_core::deadline::{MAX, parse_pushback_ms, parse_retry_after_seconds};
use backstay_core::{Class, Effect, Pushback};
use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};

use super::headers::{EFFECT, RETRY_PUSHBACK};
use crate::classify::Classify;

/// Goes by the status of a response and by the cause of an error.
///
/// | result | class | effect |
/// |---|---|---|
/// | below 400 | success | |
/// | 429 | overloaded; come back as `Retry-After` or `grpc-retry-pushback-ms` says | not executed |
/// | 408, 500, 502, 503, 504, other 5xx, with one of these headers | overloaded; come back as it says | unknown |
/// | the same without | transient | unknown |
/// | 501, 505 | permanent | not executed |
/// | 409 with such a header and `backstay-effect: unknown`: an earlier attempt of a keyed request still runs | overloaded; come back for its answer | unknown |
/// | other 4xx | ignored: the caller's own fault | not executed |
/// | a refused connection | transient | not executed |
/// | any other error | transient | unknown |
///
/// A server that knows better says so with `backstay-effect: not-executed`, `executed` or `unknown`, as
/// [`Admission`](crate::Admission) does. That is then the effect, whatever the status; the class stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpClassifier;

impl<B, E: Error + 'static> Classify<Response<B>, E> for HttpClassifier {
    fn classify(&self, result: &Result<Response<B>, E>) -> Class {
        match result {
            Ok(response) => Self::response(response.status(), response.headers()),
            Err(error) => Self::error(error),
        }
    }
}

impl HttpClassifier {
    /// What a response means, for clients with a response type of their own such as reqwest.
    pub fn response(status: StatusCode, headers: &HeaderMap) -> Class {
        of_response(status, headers)
    }

    /// What an error of the client means.
    pub fn error(error: &(dyn Error + 'static)) -> Class {
        if never_connected(error) {
            Class::Transient(Effect::NotExecuted)
        } else {
            Class::Transient(Effect::Unknown)
        }
    }
}

fn of_response(status: StatusCode, headers: &HeaderMap) -> Class {
    let effect = |unstated| stated_effect(headers).unwrap_or(unstated);
    let overloaded = |effect| Class::Overloaded {
        effect,
        pushback: pushback(headers),
    };
    match status.as_u16() {
        ..400 => Class::Success,
        429 => overloaded(effect(Effect::NotExecuted)),
        409 if says_when(headers) && stated_effect(headers) == Some(Effect::Unknown) => {
            overloaded(Effect::Unknown)
        }
        501 | 505 => Class::Permanent(effect(Effect::NotExecuted)),
        408 | 500.. if says_when(headers) => overloaded(effect(Effect::Unknown)),
        408 | 500.. => Class::Transient(effect(Effect::Unknown)),
        _ => Class::Ignored(effect(Effect::NotExecuted)),
    }
}

/// Who is overloaded says when to come back; a 503 that does not may come from a proxy whose server died.
fn says_when(headers: &HeaderMap) -> bool {
    headers.contains_key(RETRY_AFTER) || headers.contains_key(RETRY_PUSHBACK)
}

fn stated_effect(headers: &HeaderMap) -> Option<Effect> {
    match headers.get(EFFECT)?.as_bytes() {
        b"not-executed" => Some(Effect::NotExecuted),
        b"unknown" => Some(Effect::Unknown),
        b"executed" => Some(Effect::Executed),
        _ => None,
    }
}

/// gRPC's header goes first: it can say "never", and is finer than seconds.
fn pushback(headers: &HeaderMap) -> Pushback {
    if let Some(millis) = headers.get(RETRY_PUSHBACK) {
        return parse_pushback_ms(millis.as_bytes());
    }
    let Some(header) = headers.get(RETRY_AFTER) else {
        return Pushback::Unstated;
    };
    if let Some(wait) = parse_retry_after_seconds(header.as_bytes()) {
        return Pushback::After(wait);
    }
    let date = header
        .to_str()
        .ok()
        .and_then(|text| httpdate::parse_http_date(text).ok());
    date.map_or(Pushback::Unstated, |date| until(date, wall_clock()))
}

/// A date that has passed is leave to come back now.
fn until(date: SystemTime, now: SystemTime) -> Pushback {
    Pushback::After(date.duration_since(now).unwrap_or_default().min(MAX))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the date in Retry-After is one of the wall clock"
)]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Whether one of the error's causes says that there never was a connection.
///
/// An unreachable host or network says less: a connection that had been made can end with it.
fn never_connected(error: &(dyn Error + 'static)) -> bool {
    // No chain is this long. An error may name itself as its cause.
    iter::successors(Some(error), |error| cause(*error))
        .take(32)
        .any(|error| {
            error.downcast_ref::<io::Error>().is_some_and(|error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable
                )
            })
        })
}

/// The `source` of an I/O error leaves out the error that it wraps.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// CALL-13: a date counts from now, is a day away at most, and one in the past is leave to come back.
    #[test]
    fn a_date_is_a_wait_from_now() {
        let date = httpdate::parse_http_date("Tue, 24 Nov 2026 07:00:00 GMT").unwrap();
        for (now, wait) in [
            (date - Duration::from_secs(90), Duration::from_secs(90)),
            (date, Duration::ZERO),
            (date + Duration::from_secs(90), Duration::ZERO),
            (date - 2 * MAX, MAX),
        ] {
            assert_eq!(until(date, now), Pushback::After(wait));
        }
    }
}
