//! Where the names end that begin with a prefix.

/// The first text after all that begin with `prefix`, if there is one.
pub(crate) fn end_of(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        let next = match last {
            char::MAX => continue,
            // Between them lie numbers that are no letters.
            '\u{d7ff}' => '\u{e000}',
            last => char::from_u32(u32::from(last) + 1)?,
        };
        end.push(next);
        return Some(end);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What begins with a prefix lies before its end, and what follows does not.
    #[test]
    fn a_prefix_ends_before_the_next_text() {
        for (prefix, end) in [
            ("", None),
            ("a", Some("b")),
            ("a/", Some("a0")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("\u{d7ff}", Some("\u{e000}")),
            ("\u{e9}", Some("\u{ea}")),
        ] {
            assert_eq!(end_of(prefix).as_deref(), end, "{prefix:?}");
        }
    }
}
