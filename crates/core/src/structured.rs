//! Items of structured fields ([RFC 9651](https://www.rfc-editor.org/rfc/rfc9651)), to be passed over.
//!
//! Each function takes the rest of a field and gives what follows; none where the field is not as it should be.

/// A text as a string of a field; none where it has something that a string can't hold.
///
/// ```
/// use backstay_core::structured::string_of;
///
/// assert_eq!(string_of(r#"a "b""#).as_deref(), Some(r#""a \"b\"""#));
/// assert_eq!(string_of("é"), None);
/// ```
pub fn string_of(text: &str) -> Option<String> {
    if !text.bytes().all(is_shown) {
        return None;
    }
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#);
    Some(format!("\"{escaped}\""))
}

/// Passes over one bare item: a number, string, token, byte sequence, boolean, date or display string.
pub fn bare_item(text: &[u8]) -> Option<&[u8]> {
    let (first, rest) = text.split_first()?;
    match first {
        b'"' => string(rest),
        b'?' => rest.strip_prefix(b"0").or_else(|| rest.strip_prefix(b"1")),
        b':' => {
            let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
            after(rest, is_base64).strip_prefix(b":")
        }
        // A date is an integer.
        b'@' => number(rest).filter(|rest| !text[..text.len() - rest.len()].contains(&b'.')),
        b'%' => display(rest.strip_prefix(b"\"")?),
        b'-' | b'0'..=b'9' => number(text),
        b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
            let is_in =
                |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte);
            Some(after(rest, is_in))
        }
        _ => None,
    }
}

/// Passes over the name of a parameter.
pub fn key(text: &[u8]) -> Option<&[u8]> {
    let (first, rest) = text.split_first()?;
    let is_in =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(byte);
    (first.is_ascii_lowercase() || *first == b'*').then(|| after(rest, is_in))
}

/// What follows the bytes that are of a kind.
pub fn after(text: &[u8], is_in: impl Fn(&u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !is_in(byte));
    &text[end.unwrap_or(text.len())..]
}

/// An integer of up to 15 digits, or a decimal of up to 12 and three.
fn number(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let rest = after(text, u8::is_ascii_digit);
    let whole = text.len() - rest.len();
    let Some(fraction) = rest.strip_prefix(b".") else {
        return (1..=15).contains(&whole).then_some(rest);
    };
    let rest = after(fraction, u8::is_ascii_digit);
    let places = fraction.len() - rest.len();
    ((1..=12).contains(&whole) && (1..=3).contains(&places)).then_some(rest)
}

/// A string without its opening quote.
fn string(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = after(text, |byte| is_shown(*byte) && !b"\"\\".contains(byte));
        match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'"' | b'\\', rest @ ..] => text = rest,
            _ => return None,
        }
    }
}

/// A display string without its opening quote: text in which bytes may be written with two digits.
fn display(mut text: &[u8]) -> Option<&[u8]> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    loop {
        text = after(text, |byte| is_shown(*byte) && !b"\"%".contains(byte));
        match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'%', one, other, rest @ ..] if is_digit(one) && is_digit(other) => text = rest,
            _ => return None,
        }
    }
}

fn is_shown(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of item is passed over whole, and nothing that only begins like one.
    #[test]
    fn items_are_passed_over() {
        for item in [
            "1",
            "-15",
            "4.5",
            "\"a \\\" b\"",
            "*to/ken",
            "sugar",
            ":cGF5:",
            "?1",
            "@-7",
            "%\"f%c3\"",
        ] {
            let field = format!("{item};next");
            assert_eq!(bare_item(field.as_bytes()), Some(&b";next"[..]), "{item}");
        }
        for not in [
            "",
            "1234567890123456",
            "1.2345",
            "\"open",
            "\"\\n\"",
            "?2",
            ":a",
            "@1.5",
            "(a)",
            ",",
            "%\"%C3\"",
        ] {
            assert_eq!(bare_item(not.as_bytes()), None, "{not}");
        }
        assert_eq!(key(b"token=1"), Some(&b"=1"[..]));
        assert_eq!((key(b"Token"), key(b"1a"), key(b"")), (None, None, None));
    }
}
