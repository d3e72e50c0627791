//! JSON in one form: members by name, no white space, strings without escapes.
//!
//! Numbers stay as they are written. To read them would make one of two large amounts that differ.

use serde::de::IgnoredAny;

/// Deeper JSON is taken as bytes.
const DEEPEST: usize = 128;

/// The canonical form of JSON; none of what is no JSON, names a member twice, or is very deep.
///
/// The form is no JSON: every piece has its kind and its length before it, so no two documents share one.
pub(crate) fn canonical(json: &[u8]) -> Option<Vec<u8>> {
    serde_json::from_slice::<IgnoredAny>(json).ok()?;
    let mut reader = Reader { json, at: 0 };
    let mut out = Vec::with_capacity(json.len());
    reader.value(&mut out, DEEPEST)?;
    Some(out)
}

/// Walks over JSON that was found to be valid.
struct Reader<'j> {
    json: &'j [u8],
    at: usize,
}

impl<'j> Reader<'j> {
    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            b'{' => self.object(out, depth),
            b'[' => self.array(out, depth),
            b'"' => {
                let text = self.string()?;
                piece(out, b's', text.as_bytes());
                Some(())
            }
            _ => {
                let word = self.word();
                piece(out, b'w', word);
                Some(())
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        let mut members = Vec::new();
        self.at += 1;
        while self.peek()? != b'}' {
            self.pass(b',');
            self.peek()?;
            let name = self.string()?;
            self.peek()?;
            self.pass(b':');
            let mut value = Vec::new();
            self.value(&mut value, depth)?;
            members.push((name, value));
        }
        self.at += 1;
        members.sort_unstable();
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        count(out, b'o', members.len());
        for (name, value) in members {
            piece(out, b's', name.as_bytes());
            out.extend(value);
        }
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        let mut values = Vec::new();
        let mut length = 0;
        self.at += 1;
        while self.peek()? != b']' {
            self.pass(b',');
            self.value(&mut values, depth)?;
            length += 1;
        }
        self.at += 1;
        count(out, b'a', length);
        out.extend(values);
        Some(())
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while self.json.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.json.get(self.at).copied()
    }

    fn pass(&mut self, byte: u8) {
        if self.json.get(self.at) == Some(&byte) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Option<String> {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.json.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_slice(&self.json[begin..self.at]).ok()
    }

    /// A number, or one of the three words.
    fn word(&mut self) -> &'j [u8] {
        let rest = &self.json[self.at..];
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}".contains(byte);
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }
}

fn count(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend((length as u64).to_be_bytes());
}

fn piece(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    count(out, kind, bytes.len());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn same(one: &str, other: &str) -> bool {
        canonical(one.as_bytes()).expect("JSON") == canonical(other.as_bytes()).expect("JSON")
    }

    /// IDE-1: what only looks different is the same request, and what is different is another.
    #[test]
    fn what_only_looks_different_is_the_same() {
        for (one, other) in [
            (
                r#"{"a":1,"b":[2,"x"]}"#,
                " { \"b\" : [ 2 ,\n\"x\" ] , \"a\" :\t1 } ",
            ),
            (r#""\u0041\/""#, r#""A/""#),
            (r#"{"\u0061":null}"#, r#"{"a":null}"#),
            ("[]", "[ ]"),
            ("{}", "{ }"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("1", "1.0"),
            ("100000000000000000001", "100000000000000000002"),
            ("0.1", "0.10000000000000000001"),
            ("1", r#""1""#),
            ("[1,2]", "[2,1]"),
            ("[1,[2]]", "[[1],2]"),
            (r#"["a","b"]"#, r#"["ab",""]"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            ("null", "{}"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    /// IDE-1: what has no one meaning has no canonical form.
    #[test]
    fn what_can_be_read_in_two_ways_has_no_form() {
        let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
        for json in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            "{",
            "",
            "1 2",
            "tru",
            &deep,
        ] {
            assert_eq!(canonical(json.as_bytes()), None, "{json}");
        }
        let fits = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert!(canonical(fits.as_bytes()).is_some());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            "[a\"\\\\{\u{0}-\u{20}ü]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab\"]{0,2}", inner, 0..4)
                    .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        /// IDE-1: two documents have the same form if and only if they are the same, however they are written.
        #[test]
        fn the_form_is_the_document(one in json(), other in json()) {
            let form = |text: String| canonical(text.as_bytes()).expect("JSON");
            let (plain, pretty) = (one.to_string(), format!("{one:#}"));
            prop_assert_eq!(form(plain.clone()), form(pretty));
            prop_assert_eq!(form(plain) == form(other.to_string()), one == other);
        }
    }
}
