use std::fmt;

use backstay_core::Invalid;
use sha2::{Digest, Sha256};

/// What makes repeats of one request one request, and whose it is.
///
/// Only a hash of it is stored. It is made of parts, each with its length before it, so that no two lists of parts are
/// the same key.
///
/// ```
/// use backstay_idempotency::Key;
///
/// // Whose it is belongs into it: else one user is answered with what another was told.
/// let key = Key::new(["charges", "alice", "order-7"]);
/// assert_ne!(key, Key::new(["charges", "aliceorder-7"]));
/// assert_eq!(Key::from("order-7"), Key::new(["order-7"]));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    hash: String,
    /// Of nothing: what nobody has named can't be told apart.
    is_empty: bool,
}

impl Key {
    /// The key of these parts, in this order. One of no bytes is refused where it is used.
    pub fn new(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut is_empty = true;
        let parts = parts.into_iter().inspect(|part| {
            is_empty &= part.as_ref().is_empty();
        });
        let hash = hash(&encoded(parts));
        Self { hash, is_empty }
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.is_empty {
            return Err(Invalid::new("key", "\"\"", "must not be empty"));
        }
        Ok(())
    }

    /// The names of its record and of its run in the store.
    pub(crate) fn names(&self) -> Names {
        Names {
            record: format!("idempotency/record/{}", self.hash),
            run: format!("idempotency/run/{}", self.hash),
        }
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::new([text])
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::new([text])
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.hash)
    }
}

/// The two store keys of a key.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) record: String,
    pub(crate) run: String,
}

/// Each part after its length in eight bytes: what was encoded can be read back in one way only.
pub(crate) fn encoded(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        let part = part.as_ref();
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

/// SHA-256 in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Reads back what was encoded.
    fn decoded(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk() {
            let length = usize::try_from(u64::from_be_bytes(*length)).unwrap();
            let (part, rest) = rest.split_at(length);
            parts.push(part.to_vec());
            bytes = rest;
        }
        parts
    }

    fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
        // Few different bytes, so that two lists are often the same when joined; and those of lengths.
        let byte = prop_oneof![Just(0_u8), Just(1), Just(b'/'), any::<u8>()];
        vec(vec(byte, 0..12), 0..5)
    }

    proptest! {
        /// IDE-1: no two scopes have one encoding, because each encoding can be read back.
        #[test]
        fn no_two_scopes_are_one(parts in parts()) {
            prop_assert_eq!(decoded(&encoded(&parts)), parts);
        }

        /// IDE-1: the same bytes with another boundary between two parts are another key.
        #[test]
        fn a_boundary_that_moves_is_another_key(joined in vec(any::<u8>(), 1..40), at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
            let (at, to) = (at.index(joined.len()), to.index(joined.len()));
            let split = |at: usize| Key::new([&joined[..at], &joined[at..]]);
            prop_assert_eq!(split(at) == split(to), at == to);
            prop_assert_ne!(split(at), Key::new([&joined]));
        }
    }

    /// IDE-1: the hash is SHA-256, so that keys written by one version are found by the next.
    #[test]
    fn the_hash_is_sha_256() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(b"abc"), abc);
        let key = Key::new(["a", ""]);
        let bytes = b"\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\0";
        assert_eq!(key.hash, hash(bytes));
    }
}
