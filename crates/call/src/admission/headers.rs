//! What a request says about its caller, and what a refusal says about the request.

use std::time::Duration;

use backstay_core::deadline::{parse_attempts, parse_envoy_timeout, parse_grpc_timeout};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const ENVOY_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const GRPC_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
const ENVOY_ATTEMPTS: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const EFFECT: HeaderName = HeaderName::from_static("backstay-effect");

/// How long the caller still waits, if it says so in a way that can be understood; the shorter of two.
pub(super) fn time_left(headers: &HeaderMap) -> Option<Duration> {
    let grpc = headers
        .get(GRPC_TIMEOUT)
        .and_then(|value| parse_grpc_timeout(value.as_bytes()));
    let envoy = headers
        .get(ENVOY_TIMEOUT)
        .and_then(|value| parse_envoy_timeout(value.as_bytes()));
    grpc.into_iter().chain(envoy).min()
}

/// Which attempt of its call this is, 1 for the first; the higher of two.
pub(super) fn attempt(headers: &HeaderMap) -> u32 {
    let count = |name| {
        let value: &HeaderValue = headers.get(name)?;
        parse_attempts(value.as_bytes())
    };
    let grpc = count(GRPC_ATTEMPTS).unwrap_or(0) + 1;
    grpc.max(count(ENVOY_ATTEMPTS).unwrap_or(1))
}

/// 503 to come back in `wait`, or, for a gRPC client in a storm of retries, not at all.
pub(super) fn overloaded<R: Default>(wait: Duration, no_retry: bool) -> Response<R> {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, "not-executed");
    // The header knows whole seconds. Zero would bring the caller back into the same queue.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, seconds.max(1).into());
    if no_retry {
        headers.insert(PUSHBACK, HeaderValue::from_static("-1"));
    }
    response
}

/// 504 for a request whose time had passed before its handler began.
pub(super) fn expired<R: Default>() -> Response<R> {
    answer(StatusCode::GATEWAY_TIMEOUT, "not-executed")
}

/// 504 for a request whose handler was dropped, wherever it stood.
pub(super) fn timed_out<R: Default>() -> Response<R> {
    answer(StatusCode::GATEWAY_TIMEOUT, "unknown")
}

fn answer<R: Default>(status: StatusCode, effect: &'static str) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(EFFECT, HeaderValue::from_static(effect));
    response
}
