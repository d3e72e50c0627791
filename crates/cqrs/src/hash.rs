use std::fmt::Write;

use sha2::{Digest, Sha256};

/// SHA-256 of parts, each with its length, in hexadecimal digits.
pub(crate) fn hex(parts: &[&[u8]]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(parts) {
        // Text takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
