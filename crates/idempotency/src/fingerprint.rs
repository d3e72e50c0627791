use std::fmt;

use serde::Serialize;

use crate::canonical::canonical;
use crate::key::{encoded, hash};

/// What a request asks for, as a hash: the same key with another fingerprint is refused.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a request that can be written as JSON, whatever the order of its members.
    ///
    /// JSON has no NaN and no infinity: as numbers in a request all three are `null`, and so are one request with it.
    ///
    /// # Errors
    ///
    /// When it can't be written as JSON.
    pub fn of(request: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::of_parts([Self::body(
            &serde_json::to_vec(request)?,
            true,
        )]))
    }

    /// Of bytes as they are.
    pub fn of_bytes(request: impl AsRef<[u8]>) -> Self {
        Self::of_parts([Self::body(request.as_ref(), false)])
    }

    /// Of parts, each with its length.
    pub(crate) fn of_parts(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        Self(hash(&encoded(parts)))
    }

    /// A body in the form that is hashed: canonical if it is JSON that has one, else as it is.
    pub(crate) fn body(bytes: &[u8], is_json: bool) -> Vec<u8> {
        let (kind, form) = match is_json.then(|| canonical(bytes)).flatten() {
            Some(form) => (b'j', form),
            None => (b'b', bytes.to_vec()),
        };
        [vec![kind], form].concat()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// IDE-1: members in another order are the same request; bytes are never taken for JSON.
    #[test]
    fn of_what_is_asked_and_not_how_it_is_written() {
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let of = |text: &str| Fingerprint::of(&value(text)).unwrap();
        assert_eq!(of(r#"{"a":1,"b":2}"#), of(r#"{"b":2,"a":1}"#));
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":2}"#));
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Fingerprint::of(&odd).unwrap(), of("null"));
        }
        assert_ne!(of("1"), Fingerprint::of_bytes("1"));
        assert_ne!(Fingerprint::of_bytes("[1]"), Fingerprint::of_bytes("[ 1]"));
    }
}
