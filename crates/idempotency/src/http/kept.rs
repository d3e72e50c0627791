//! A response as it is kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, PROXY_AUTHENTICATE, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Of this connection, of this moment, or a secret of the first who asked.
const NOT_KEPT: [HeaderName; 11] = [
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a record has around its answer, and some more.
const ENVELOPE: usize = 512;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptResponse {
    status: u16,
    /// Names and values, a character for each byte.
    headers: Vec<(String, String)>,
    body: KeptBody,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptBody {
    Text(String),
    Base64(String),
    /// It was too large.
    NotKept,
}

/// What is given to somebody who asks again.
#[derive(Debug)]
pub(super) enum Replay {
    Response(Response<Bytes>),
    NotKept,
    Malformed,
}

impl KeptResponse {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = match str::from_utf8(body).ok().filter(|text| is_short(text)) {
            Some(text) => KeptBody::Text(text.to_owned()),
            None => KeptBody::Base64(STANDARD.encode(body)),
        };
        let named = named_by_connection(headers);
        let headers = headers
            .iter()
            .filter(|(name, _)| !NOT_KEPT.contains(name) && !named.contains(name))
            .map(|(name, value)| {
                let value = value.as_bytes().iter().copied().map(char::from);
                (name.as_str().to_owned(), value.collect())
            })
            .collect();
        Self {
            status: status.as_u16(),
            headers,
            body,
        }
    }

    /// That there was an answer, and which status it had.
    pub(super) fn too_large(status: StatusCode) -> Self {
        Self {
            status: status.as_u16(),
            headers: Vec::new(),
            body: KeptBody::NotKept,
        }
    }

    /// As JSON, if a store that takes values of so many bytes can keep it.
    pub(super) fn raw(&self, value_bytes: usize) -> Option<Box<RawValue>> {
        let raw = to_raw_value(self).expect("text and a number");
        (raw.get().len() + ENVELOPE <= value_bytes).then_some(raw)
    }

    pub(super) fn replay(self) -> Replay {
        let body = match self.body {
            KeptBody::Text(text) => Some(text.into_bytes()),
            KeptBody::Base64(text) => STANDARD.decode(text).ok(),
            KeptBody::NotKept => return Replay::NotKept,
        };
        let response = body.and_then(|body| response(self.status, self.headers, body));
        response.map_or(Replay::Malformed, Replay::Response)
    }
}

fn response(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Option<Response<Bytes>> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    for (name, value) in headers {
        let bytes: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
        let value = HeaderValue::from_bytes(&bytes.ok()?).ok()?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        response.headers_mut().append(name, value);
    }
    Some(response)
}

/// Text whose escapes make it no longer than base64 would be.
fn is_short(text: &str) -> bool {
    let escaped = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum::<usize>();
    escaped <= text.len().div_ceil(3) * 4
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn again(response: &Response<Vec<u8>>) -> Response<Bytes> {
        let kept = KeptResponse::new(response.status(), response.headers(), response.body());
        let text = serde_json::to_string(&kept).unwrap();
        // The answer cap leaves this much for it.
        assert!(text.len() <= response.body().len() * 4 / 3 + 400, "{text}");
        let Replay::Response(again) = serde_json::from_str::<KeptResponse>(&text)
            .unwrap()
            .replay()
        else {
            panic!("a response");
        };
        again
    }

    proptest! {
        /// IDE-2: whatever a body holds, it comes back byte for byte, and is kept in a third more at most.
        #[test]
        fn any_body_comes_back(body in vec(any::<u8>(), 0..300), text in "\\PC{0,40}|[\"\u{0}-\u{20}]{0,90}") {
            for body in [body, text.into_bytes()] {
                let response = Response::new(body);
                let again = again(&response);
                prop_assert_eq!(&again.body()[..], &response.body()[..]);
            }
        }
    }

    /// IDE-2: headers come back in their order and to the byte; what belongs to one connection, moment or user does not.
    #[test]
    fn headers_come_back_but_for_some() {
        let response = Response::builder()
            .status(201)
            .header("location", "/charges/7")
            .header("link", "a")
            .header("link", "b")
            .header("x-bytes", HeaderValue::from_bytes(b"\xff\x80").unwrap())
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("set-cookie", "session=secret")
            .header("date", "Tue, 24 Nov 2026 07:00:00 GMT")
            .header("content-length", "2")
            .header("transfer-encoding", "chunked")
            .body(b"{}".to_vec())
            .unwrap();
        let again = again(&response);
        assert_eq!(again.status(), 201);
        let headers: Vec<_> = again
            .headers()
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_bytes()))
            .collect();
        let expected: [(&str, &[u8]); 4] = [
            ("location", b"/charges/7"),
            ("link", b"a"),
            ("link", b"b"),
            ("x-bytes", b"\xff\x80"),
        ];
        assert_eq!(headers, expected);
    }
}
