use http::{HeaderName, HeaderValue, Response, StatusCode};

pub(super) const EFFECT: HeaderName = HeaderName::from_static("backstay-effect");

/// What becomes of the key after a response. A handler says so as an extension of its response.
///
/// Without it the response says it, read as clients read it that repeat by the effect:
///
/// | response | what becomes of the key |
/// |---|---|
/// | `backstay-effect: not-executed` | free |
/// | `backstay-effect: executed` | the answer is kept |
/// | `backstay-effect: unknown` | open, whatever the status |
/// | 2xx, 3xx but 307 and 308 | the answer is kept |
/// | 408 | open |
/// | 307, 308 | free: the request is to be sent elsewhere, and was not done here |
/// | 501, 505, other 4xx | free: the request was refused and nothing has happened |
/// | other 5xx, 1xx | open |
///
/// A refusal that has an effect of its own, such as a declined card that was counted, says [`Settle::Keep`].
///
/// ```
/// use axum::Extension;
/// use axum::http::StatusCode;
/// use backstay_idempotency::Settle;
///
/// async fn charge() -> (StatusCode, Extension<Settle>, &'static str) {
///     (StatusCode::PAYMENT_REQUIRED, Extension(Settle::Keep), "declined")
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Settle {
    /// The answer is kept, and repeats get it.
    Keep,
    /// Nothing has happened: the next request under the key is a new one, whatever it asks for.
    Free,
    /// What has happened is not known: the same request runs again, another is refused.
    LeaveOpen,
}

impl Settle {
    pub(super) fn after<B>(response: &Response<B>) -> Self {
        if let Some(stated) = response.extensions().get::<Self>() {
            return *stated;
        }
        let effect = response.headers().get(EFFECT);
        match effect.map(HeaderValue::as_bytes) {
            Some(b"not-executed") => return Self::Free,
            Some(b"executed") => return Self::Keep,
            Some(b"unknown") => return Self::LeaveOpen,
            _ => {}
        }
        match response.status() {
            StatusCode::REQUEST_TIMEOUT => Self::LeaveOpen,
            StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
            | StatusCode::NOT_IMPLEMENTED
            | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Self::Free,
            status if status.is_success() || status.is_redirection() => Self::Keep,
            status if status.is_client_error() => Self::Free,
            _ => Self::LeaveOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(status: u16, effect: Option<&str>, stated: Option<Settle>) -> Settle {
        let mut response = Response::builder().status(status);
        if let Some(effect) = effect {
            response = response.header(EFFECT, effect);
        }
        if let Some(stated) = stated {
            response = response.extension(stated);
        }
        Settle::after(&response.body(()).unwrap())
    }

    /// IDE-4: refusals free the key, failures leave it open, and the handler may say otherwise.
    #[test]
    fn the_response_says_what_becomes_of_the_key() {
        for (statuses, expected) in [
            (&[200, 201, 202, 204, 301, 302, 303, 304][..], Settle::Keep),
            (
                &[
                    307, 308, 400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 501, 505,
                ],
                Settle::Free,
            ),
            (&[408, 500, 502, 503, 504, 507, 101], Settle::LeaveOpen),
        ] {
            for status in statuses {
                assert_eq!(after(*status, None, None), expected, "{status}");
                let unknown = after(*status, Some("unknown"), None);
                assert_eq!(unknown, Settle::LeaveOpen, "{status}");
                // What says nothing that is known leaves it to the status.
                assert_eq!(after(*status, Some("odd"), None), expected, "{status}");
                let refused = after(*status, Some("not-executed"), None);
                assert_eq!(refused, Settle::Free, "{status}");
                let done = after(*status, Some("executed"), None);
                assert_eq!(done, Settle::Keep, "{status}");
                for stated in [Settle::Keep, Settle::Free, Settle::LeaveOpen] {
                    let settled = after(*status, Some("not-executed"), Some(stated));
                    assert_eq!(settled, stated, "{status}");
                }
            }
        }
    }
}
