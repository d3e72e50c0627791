use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A value as it is in the log. Cheap to clone.
#[derive(Clone)]
pub struct Json(Arc<RawValue>);

/// A value of the log that is not what the code takes.
#[derive(Debug, thiserror::Error)]
#[error("it is not what the code reads")]
pub struct Unreadable(#[from] serde_json::Error);

impl Unreadable {
    pub(crate) fn told(&self) -> String {
        self.0.to_string()
    }
}

impl Json {
    pub(crate) fn write(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self(to_raw_value(value)?.into()))
    }

    /// A list of these.
    pub(crate) fn list(values: &[Self]) -> Self {
        let texts: Vec<&str> = values.iter().map(Self::text).collect();
        let list = RawValue::from_string(format!("[{}]", texts.join(",")));
        Self(list.expect("a list of JSON is JSON").into())
    }

    pub(crate) fn null() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }

    /// From JSON text.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        Ok(Self(serde_json::from_str::<Box<RawValue>>(text)?.into()))
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        Ok(serde_json::from_str(self.text())?)
    }

    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }

    /// As values: whoever writes a map may write it in another order.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        are_same(self.text(), other.text(), DEEPEST)
    }
}

/// As deep as serde reads.
const DEEPEST: u8 = 128;

fn are_same(one: &str, other: &str, depth: u8) -> bool {
    if one == other {
        return true;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let inner = |one: &RawValue, other: &RawValue| are_same(one.get(), other.get(), depth);
    if let (Some(one), Some(other)) = (parts::<Fields<'_>>(one), parts::<Fields<'_>>(other)) {
        let is_in_other = |(key, value): (&String, &&RawValue)| {
            other.get(key).is_some_and(|other| inner(value, other))
        };
        return one.len() == other.len() && one.iter().all(is_in_other);
    }
    let (Some(one), Some(other)) = (parts::<Vec<&RawValue>>(one), parts::<Vec<&RawValue>>(other))
    else {
        return false;
    };
    let mut pairs = one.iter().zip(&other);
    one.len() == other.len() && pairs.all(|(one, other)| inner(one, other))
}

type Fields<'v> = HashMap<String, &'v RawValue>;

fn parts<'v, T: Deserialize<'v>>(text: &'v str) -> Option<T> {
    serde_json::from_str(text).ok()
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SAG-6: the same input is the same whatever the order of its maps, and numbers are not rounded.
    #[test]
    fn inputs_are_the_same_as_values() {
        let same = |one: &str, other: &str| {
            let read = |text| Json::parse(text).expect("it is JSON");
            read(one).is_same(&read(other))
        };
        assert!(same(
            r#"{"a":[1,{"b":2,"c":null}],"d":"x"}"#,
            r#"{"d":"x","a":[1,{"c":null,"b":2}]}"#
        ));
        for (one, other) in [
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            ("1", "2"),
            (r#""1""#, "1"),
            ("{}", "[]"),
            ("1e400", "1e401"),
            ("18446744073709551617", "18446744073709551618"),
        ] {
            assert!(!same(one, other), "{one} and {other}");
        }
        let deep = |end: &str| format!("{}{end}{}", "[".repeat(200), "]".repeat(200));
        assert!(!same(&deep("1"), &deep("2")));
    }
}
