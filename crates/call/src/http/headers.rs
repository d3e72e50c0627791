use backstay_core::deadline::{GrpcTimeout, less_margin, parse_grpc_timeout};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::attempt::Attempt;
use crate::key::Key;

/// The time that the caller still waits.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// How many attempts went before.
pub(crate) const PREVIOUS_ATTEMPTS: HeaderName =
    HeaderName::from_static("grpc-previous-rpc-attempts");
/// When a repeat is welcome; negative for never.
pub(crate) const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// What makes repeats of one request one request.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// What a request that failed has done.
pub(crate) const EFFECT: HeaderName = HeaderName::from_static("backstay-effect");

impl Attempt {
    /// The headers that tell the server about this attempt: time left, attempts before, idempotency key.
    ///
    /// `grpc-timeout` is what is left less a margin of 5 ms or 1 %, so that the answer still comes in time.
    /// `grpc-previous-rpc-attempts` goes with repeats only, and `idempotency-key` with keyed calls.
    ///
    /// ```no_run
    /// # async fn show(client: reqwest::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// # let prices = backstay_call::Pipeline::builder("prices").build()?;
    /// # use backstay_call::HttpClassifier;
    /// let prices = prices.classified(|answer: &Result<reqwest::Response, reqwest::Error>| match answer {
    ///     Ok(response) => HttpClassifier::response(response.status(), response.headers()),
    ///     Err(error) => HttpClassifier::error(error),
    /// });
    /// let get = || client.get("http://prices.internal/7");
    /// let answer = prices.call_idempotent(|attempt| get().headers(attempt.headers()).send()).await?;
    /// # Ok(()) }
    /// ```
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        self.apply(&mut headers);
        headers
    }

    /// Writes the [`headers`](Self::headers) into those of a request. A shorter time left that stands there stays.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Some(left) = self.remaining().map(less_margin) {
            let theirs = headers
                .get(TIMEOUT)
                .and_then(|text| parse_grpc_timeout(text.as_bytes()));
            let value = HeaderValue::from_str(GrpcTimeout::new(left).as_str());
            if let Ok(value) = value
                && theirs.is_none_or(|theirs| left < theirs)
            {
                headers.insert(TIMEOUT, value);
            }
        }
        if self.number() > 1 {
            headers.insert(PREVIOUS_ATTEMPTS, (self.number() - 1).into());
        }
        // A key that can't be sent ended the call before there was an attempt.
        if let Some(value) = self.key().and_then(quoted) {
            headers.insert(IDEMPOTENCY_KEY, value);
        }
    }
}

/// The key as a string of RFC 9651, which is what the header's draft asks for.
fn quoted(key: &Key) -> Option<HeaderValue> {
    let escaped = key.as_str().replace('\\', r"\\").replace('"', r#"\""#);
    HeaderValue::from_str(&format!("\"{escaped}\"")).ok()
}
