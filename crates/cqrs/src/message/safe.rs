use std::fmt::Write;

/// A text that fits into a subject of NATS and a header: letters, digits, `-`, `_` and `/` stand for themselves, another byte is `=`
/// and its two digits.
pub(super) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_/".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            // It goes to memory.
            let _ = write!(safe, "={byte:02X}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CQ-5: two texts never look the same.
    #[test]
    fn what_is_special_is_written_in_digits() {
        assert_eq!(safe("order/a-1_b"), "order/a-1_b");
        assert_eq!(safe("a.b*>é ="), "a=2Eb=2A=3E=C3=A9=20=3D");
        assert_ne!(safe("a=2E"), safe("a."));
    }
}
