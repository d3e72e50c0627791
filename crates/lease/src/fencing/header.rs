//! `fencing-token: "sweeper";token=34`, an item of RFC 9651 with one parameter that counts.

use std::fmt::Write;

use backstay_core::{Invalid, structured};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Under which lease a request was sent: its name as a string, its token as the parameter `token`.
pub const HEADER: HeaderName = HeaderName::from_static("fencing-token");

/// Integers of RFC 9651 have at most 15 digits.
pub(super) const HIGHEST: u64 = 999_999_999_999_999;

/// The header's value for a lease.
pub(super) fn write(name: &str, token: u64) -> Result<HeaderValue, Invalid> {
    if !(1..=HIGHEST).contains(&token) {
        let limit = format!("must be in 1..={HIGHEST} to be sent in a header");
        return Err(Invalid::new("token", token, limit));
    }
    if !name.bytes().all(is_shown) {
        let limit = "must be printable ASCII to be sent in a header";
        return Err(Invalid::new("name", format!("{name:?}"), limit));
    }
    let mut text = String::with_capacity(name.len() + 32);
    text.push('"');
    for char in name.chars() {
        if matches!(char, '"' | '\\') {
            text.push('\\');
        }
        text.push(char);
    }
    // Writing to a string does not fail.
    let _ = write!(text, "\";token={token}");
    let value = HeaderValue::from_str(&text);
    value.map_err(|_| Invalid::new("name", format!("{name:?}"), "must be fit for a header"))
}

fn is_shown(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}

/// What the header says; an error if it is not as it should be, none if it is not there.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<(String, u64)>, Malformed> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Malformed("it is there twice"));
    }
    parse(value.as_bytes()).map(Some)
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

fn parse(text: &[u8]) -> Result<(String, u64), Malformed> {
    let mut rest = text.trim_ascii();
    let name = string(&mut rest)?;
    let mut token = None;
    while let Some(b';') = rest.first() {
        let text = structured::after(&rest[1..], |byte| *byte == b' ');
        rest = structured::key(text).ok_or(Malformed("a parameter has no name"))?;
        let key = &text[..text.len() - rest.len()];
        let mut value = None;
        if let Some(text) = rest.strip_prefix(b"=") {
            let not_an_item = Malformed("a parameter's value is not a bare item");
            rest = structured::bare_item(text).ok_or(not_an_item)?;
            value = number(&text[..text.len() - rest.len()]);
        }
        // The last of several counts, and what is not known is left alone.
        if key == b"token" {
            token = value;
        }
    }
    if !rest.is_empty() {
        return Err(Malformed("something follows the token"));
    }
    match token {
        Some(token @ 1..) => Ok((name, token)),
        _ => Err(Malformed("it has no token from 1 on")),
    }
}

fn string(rest: &mut &[u8]) -> Result<String, Malformed> {
    let unquoted = Malformed("the name is not a string in quotes");
    let Some((b'"', mut text)) = rest.split_first() else {
        return Err(unquoted);
    };
    let mut name = String::new();
    loop {
        let (byte, more) = text.split_first().ok_or(unquoted)?;
        text = more;
        let byte = match byte {
            b'"' => break,
            b'\\' => match text.split_first() {
                Some((escaped @ (b'"' | b'\\'), more)) => {
                    text = more;
                    *escaped
                }
                _ => return Err(unquoted),
            },
            byte if is_shown(*byte) => *byte,
            _ => return Err(unquoted),
        };
        name.push(char::from(byte));
    }
    *rest = text;
    Ok(name)
}

/// The number that a bare item is, if it is an integer from zero on; any other is passed over.
fn number(item: &[u8]) -> Option<u64> {
    let mut digits = item
        .iter()
        .map(|byte| byte.is_ascii_digit().then(|| u64::from(byte - b'0')));
    // It has 15 digits at most.
    digits.try_fold(0, |number, digit| Some(number * 10 + digit?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// LEA-8: what a leader sends is read as it was meant.
    #[test]
    fn what_is_written_is_read() {
        proptest!(|(name in "[ -~]{1,60}", token in 1..=HIGHEST)| {
            let value = write(&name, token).expect("it can be sent");
            prop_assert_eq!(parse(value.as_bytes()), Ok((name, token)));
        });
    }

    /// LEA-8: a header that is not as it should be is never read as a token.
    #[test]
    fn what_is_malformed_is_refused() {
        let good = [
            (r#""a";token=1"#, "a", 1),
            (r#" "a"; token=7  "#, "a", 7),
            (r#""a\"\\";token=000000000000007"#, r#"a"\"#, 7),
            (r#""a";x;y="b;c";z=?1;token=999999999999999"#, "a", HIGHEST),
            (r#""a";token=3;token=4"#, "a", 4),
            (r#""a";s=:YQ==:;t=@-1;*u=to/k:en*;v=-1.125;token=5"#, "a", 5),
            (r#""a";p=%"f%c3%bc, ";token=6"#, "a", 6),
        ];
        for (text, name, token) in good {
            assert_eq!(
                parse(text.as_bytes()),
                Ok((name.to_owned(), token)),
                "{text}"
            );
        }
        let bad = [
            "",
            "a",
            "a;token=1",
            r#""a""#,
            r#""a" ;token=1"#,
            r#""a";token"#,
            r#""a";token="#,
            r#""a";token=0"#,
            r#""a";token=-1"#,
            r#""a";token=1.0"#,
            r#""a";token="1""#,
            r#""a";token=?1"#,
            r#""a";token=1000000000000000"#,
            r#""a";token=18446744073709551617"#,
            r#""a";token=1, "a";token=2"#,
            r#""a";token=1 x"#,
            r#""a;token=1"#,
            r#""a\b";token=1"#,
            "\"\u{e9}\";token=1",
            r#""a";Token=1"#,
            r#""a";;token=1"#,
            r#"("a");token=1"#,
            r#""a";token=1;token"#,
            // Two headers that a proxy has made one of.
            r#""a";token=1,"b";token=9"#,
            r#""a";x=1,"b";token=9"#,
            r#""a";x=(g],,;token=3"#,
            r#""a" ;p=1"#,
            r#""a" ;p=1;token=3"#,
            r#""a";x=1.;token=3"#,
            r#""a";x=1234567890123456;token=3"#,
            r#""a";x=@1.5;token=3"#,
            r#""a";x=?2;token=3"#,
            r#""a";x=:YQ==;token=3"#,
            r#""a";x="b\c";token=3"#,
            r#""a";x=%"%C3";token=3"#,
            r#""a";x={};token=3"#,
        ];
        for text in bad {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..60))| {
            let _ = parse(&bytes);
        });
    }

    /// LEA-8: a token or a name that the header can't carry is an error of whoever sends it.
    #[test]
    fn what_can_not_be_written_is_not_sent() {
        assert!(write("a", HIGHEST).is_ok());
        for (name, token, field) in [
            ("a", 0, "token"),
            ("a", HIGHEST + 1, "token"),
            ("\u{e9}", 1, "name"),
            ("a\n", 1, "name"),
        ] {
            assert_eq!(write(name, token).expect_err("it can't").field, field);
        }
    }

    /// LEA-8: two headers are no header.
    #[test]
    fn two_headers_are_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), Ok(None));
        headers.append(HEADER, write("a", 1).expect("it can be sent"));
        assert_eq!(read(&headers), Ok(Some(("a".to_owned(), 1))));
        headers.append(HEADER, write("a", 2).expect("it can be sent"));
        assert!(read(&headers).is_err());
    }
}
