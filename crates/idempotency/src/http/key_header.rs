use backstay_core::structured::{after, bare_item, key};
use http::{HeaderMap, HeaderName};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// As our own clients refuse what is longer.
const LONGEST: usize = 255;

/// What a request says in a header that names a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stated {
    None,
    Key(String),
    Malformed,
}

/// The key in a header: a string of RFC 9651, or the same text bare, as many clients send it.
pub(super) fn stated(headers: &HeaderMap, name: &HeaderName) -> Stated {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Stated::None,
        (Some(value), None) => read(value.as_bytes()).map_or(Stated::Malformed, Stated::Key),
        (Some(_), Some(_)) => Stated::Malformed,
    }
}

fn read(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let key = match text.strip_prefix('"') {
        Some(quoted) => string(quoted)?,
        None => bare(text)?,
    };
    (1..=LONGEST).contains(&key.len()).then_some(key)
}

/// A string without its opening quote. Parameters after it say nothing to us.
fn string(quoted: &str) -> Option<String> {
    let mut key = String::new();
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => break,
            '\\' => match rest.next()? {
                escaped @ ('"' | '\\') => key.push(escaped),
                _ => return None,
            },
            plain @ ' '..='~' => key.push(plain),
            _ => return None,
        }
    }
    is_parameters(rest.as_str().as_bytes()).then_some(key)
}

/// Whether this is parameters of an item and nothing else.
fn is_parameters(text: &[u8]) -> bool {
    let mut text = text;
    while let Some(rest) = text.strip_prefix(b";") {
        let Some(rest) = key(after(rest, |byte| *byte == b' ')) else {
            return false;
        };
        text = match rest.strip_prefix(b"=").map(bare_item) {
            None => rest,
            Some(Some(rest)) => rest,
            Some(None) => return false,
        };
    }
    text.is_empty()
}

/// Visible characters, but for those that divide a field of a header.
fn bare(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_graphic() && !"\",;\\".contains(c);
    text.chars().all(is_plain).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[&str]) -> Stated {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                IDEMPOTENCY_KEY,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        stated(&headers, &IDEMPOTENCY_KEY)
    }

    /// IDE-2: a structured string and the same text bare are one key; all else is malformed.
    #[test]
    fn a_string_or_a_bare_word_is_a_key() {
        assert_eq!(of(&[]), Stated::None);
        for (value, key) in [
            (r#""order-7""#, "order-7"),
            ("order-7", "order-7"),
            (
                "  8e03978e-40d5-43e8-bc93-6894a57f9324 ",
                "8e03978e-40d5-43e8-bc93-6894a57f9324",
            ),
            (r#""a \"b\" \\""#, r#"a "b" \"#),
            (r#""a";p=1"#, "a"),
            (r#""a"; p;q="x,\"y";r=?1;s=:YQ==:;t=@-1"#, "a"),
            (r#""a";*u=to/k:en*;v.-_1=-123456789012.125"#, "a"),
            (r#""a";p=%"f%c3%bc, \"  "#, "a"),
            (r#"" ""#, " "),
        ] {
            assert_eq!(of(&[value]), Stated::Key(key.to_owned()), "{value}");
        }
        let long = format!("\"{}\"", "k".repeat(256));
        for value in [
            "",
            "\"\"",
            "\"open",
            r#""a"b"#,
            r#""\n""#,
            "a b",
            "a,b",
            "a;b",
            "\"ü\"",
            "ü",
            "\"a\", \"b\"",
            // Two headers that a proxy has made one of.
            r#""a";p=1, "b""#,
            r#""a";token=1,"b";token=9"#,
            r#""a";x=(g],,;token=3"#,
            r#""a" ;p=1"#,
            r#""a";((garbage"#,
            r#""a";"#,
            r#""a";;p"#,
            r#""a";P=1"#,
            r#""a";p="#,
            r#""a";p=1."#,
            r#""a";p=1234567890123456"#,
            r#""a";p=@1.5"#,
            r#""a";p=?2"#,
            r#""a";p=:YQ=="#,
            r#""a";p="b"#,
            r#""a";p="b\c""#,
            r#""a";p=%"%C3""#,
            r#""a";p=1 q"#,
            &long,
        ] {
            assert_eq!(of(&[value]), Stated::Malformed, "{value}");
        }
        assert_eq!(of(&["a", "a"]), Stated::Malformed);
    }

    proptest! {
        /// IDE-2: whatever our clients send as a key is read as that key.
        #[test]
        fn a_key_survives_the_way(key in "[ -~]{1,255}") {
            let escaped = key.replace('\\', r"\\").replace('"', r#"\""#);
            prop_assert_eq!(of(&[&format!("\"{escaped}\"")]), Stated::Key(key));
        }
    }
}
