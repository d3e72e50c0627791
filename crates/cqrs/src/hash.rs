use sha2::{Digest, Sha256};

/// SHA-256 of parts, each with its length, in hexadecimal digits.
pub(crate) fn hex(parts: &[&[u8]]) -> String {
    let digest = digest(parts);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
