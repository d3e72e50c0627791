//! What the calls of a step carry over HTTP.

use std::task::{Context, Poll};

use ::http::header::RETRY_AFTER;
use ::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use backstay_core::deadline::{GrpcTimeout, less_margin, parse_retry_after_seconds};
use backstay_core::structured::string_of;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

use crate::cx::{Cx, Purpose};
use crate::error::{StepEffect, StepError};
use crate::hash;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const UNDOES: HeaderName = HeaderName::from_static("backstay-undoes");
const FENCE: HeaderName = HeaderName::from_static("fencing-token");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const EFFECT: HeaderName = HeaderName::from_static("backstay-effect");
const TRACE: HeaderName = HeaderName::from_static("traceparent");

impl<App, In> Cx<App, In> {
    /// The headers that tell a server about this attempt.
    ///
    /// | header | says |
    /// |---|---|
    /// | `idempotency-key` | [`key`](Self::key); in an undo [`undo_key`](Self::undo_key) |
    /// | `backstay-undoes` | in an undo, the key of the step: what comes late under it is to be refused |
    /// | `fencing-token` | [`fence`](Self::fence) |
    /// | `grpc-timeout` | [`time_left`](Self::time_left), less a margin |
    /// | `traceparent` | one trace for the instance, and a span of this attempt (W3C Trace Context) |
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name, text: Option<String>| {
            // All of them are of hexadecimal digits, or were checked when they were made.
            if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
                headers.insert(name, value);
            }
        };
        match self.purpose() {
            Purpose::Do => put(KEY, string_of(&self.key())),
            Purpose::Undo => {
                put(KEY, string_of(&self.undo_key()));
                put(UNDOES, string_of(&self.key()));
            }
        }
        let fence = self.fence();
        let name = string_of(&fence.name);
        put(
            FENCE,
            name.map(|name| format!("{name};token={}", fence.token)),
        );
        put(TRACE, Some(self.trace()));
        put_time_left(&mut headers, self.call().deadline);
        headers
    }

    /// A layer around an HTTP client that puts these [headers](Self::headers) on each request.
    ///
    /// What a request has already of `traceparent` stays. `grpc-timeout` is what is left when the request is sent.
    ///
    /// All its requests carry one key: a server that keeps keys answers the second as it did the first, or refuses it where it
    /// differs. So a step sends one request that changes something; what takes two is two steps.
    ///
    /// ```
    /// # use backstay_saga::{Cx, StepError};
    /// # use http::{Request, Response};
    /// # use tower_layer::Layer;
    /// # use tower_service::Service;
    /// # async fn charge<C>(cx: Cx<C, ()>) -> Result<(), StepError>
    /// # where C: Service<Request<String>, Response = Response<String>, Error = std::io::Error> + Clone {
    /// let mut client = cx.layer().layer(cx.app().clone());
    /// let answer = client.call(Request::post("/charges").body("{}".to_owned())?).await?;
    /// # Ok(()) }
    /// ```
    pub fn layer(&self) -> CxLayer {
        CxLayer {
            headers: self.headers(),
            deadline: self.call().deadline,
        }
    }

    fn trace(&self) -> String {
        let call = self.call();
        let trace = hash::hex(&[&call.group, &call.saga, &call.id].map(|part| part.as_bytes()));
        let attempt = format!("{:?} {}", call.purpose, call.attempt);
        let span = hash::hex(&[trace.as_bytes(), call.step.as_bytes(), attempt.as_bytes()]);
        format!("00-{}-{}-01", &trace[..32], &span[..16])
    }
}

fn put_time_left(headers: &mut HeaderMap, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = GrpcTimeout::new(less_margin(left));
    // It is digits and a letter.
    if let Ok(value) = HeaderValue::from_str(left.as_str()) {
        headers.insert(TIMEOUT, value);
    }
}

impl StepError {
    /// What the answer to a step's request means: `Ok` for one of success.
    ///
    /// | answer | the step |
    /// |---|---|
    /// | 2xx | is done |
    /// | 429, and 503 with `Retry-After` | was not executed, and is tried again then |
    /// | 409 with `Retry-After`: an earlier attempt still runs | is unknown, and asks again then |
    /// | other 4xx | has failed |
    /// | all else | is unknown |
    ///
    /// A server that knows better says so by `backstay-effect`, as those do that are built with `backstay`. `Retry-After` is read in
    /// seconds.
    ///
    /// ```
    /// use backstay_saga::{StepEffect, StepError};
    /// use http::{HeaderMap, StatusCode};
    ///
    /// let refused = StepError::answered(StatusCode::PAYMENT_REQUIRED, &HeaderMap::new());
    /// assert_eq!(refused.unwrap_err().effect(), StepEffect::Failed);
    /// ```
    pub fn answered(status: StatusCode, headers: &HeaderMap) -> Result<(), Self> {
        if status.is_success() {
            return Ok(());
        }
        let after = headers.get(RETRY_AFTER);
        let after = after.and_then(|after| parse_retry_after_seconds(after.as_bytes()));
        let comes_back = after.is_some();
        let effect = match status {
            StatusCode::TOO_MANY_REQUESTS => StepEffect::NotExecuted,
            StatusCode::SERVICE_UNAVAILABLE if comes_back => StepEffect::NotExecuted,
            StatusCode::CONFLICT if comes_back => StepEffect::Unknown,
            StatusCode::REQUEST_TIMEOUT => StepEffect::Unknown,
            status if status.is_client_error() => StepEffect::Failed,
            _ => StepEffect::Unknown,
        };
        let stated = headers.get(EFFECT).map(HeaderValue::as_bytes);
        let effect = match (stated, effect) {
            (Some(b"not-executed"), StepEffect::Unknown) => StepEffect::NotExecuted,
            (Some(b"unknown" | b"executed"), _) => StepEffect::Unknown,
            (_, effect) => effect,
        };
        let what = format!("the answer was {status}");
        let error = match effect {
            StepEffect::Failed => Self::failed(what),
            StepEffect::NotExecuted => Self::not_executed(what),
            StepEffect::Unknown => Self::unknown(what),
        };
        Err(error.again_in(after.unwrap_or_default()))
    }
}

/// Puts the headers of one attempt on requests. Made by [`Cx::layer`].
#[derive(Clone, Debug)]
pub struct CxLayer {
    headers: HeaderMap,
    deadline: Instant,
}

impl<S> Layer<S> for CxLayer {
    type Service = CxService<S>;

    fn layer(&self, inner: S) -> CxService<S> {
        let attempt = self.clone();
        CxService { inner, attempt }
    }
}

/// A client whose requests carry the headers of one attempt.
#[derive(Clone, Debug)]
pub struct CxService<S> {
    inner: S,
    attempt: CxLayer,
}

impl<S, B> Service<Request<B>> for CxService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let headers = request.headers_mut();
        for (name, value) in &self.attempt.headers {
            if *name != TRACE || !headers.contains_key(TRACE) {
                headers.insert(name, value.clone());
            }
        }
        put_time_left(headers, self.attempt.deadline);
        self.inner.call(request)
    }
}
