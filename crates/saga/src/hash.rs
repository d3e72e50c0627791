use sha2::{Digest, Sha256};

/// SHA-256 of parts, each after its length, in hexadecimal: no two lists of parts have the same.
pub(crate) fn hex(parts: &[&[u8]]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digits =
        |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    hasher.finalize().into_iter().flat_map(digits).collect()
}
