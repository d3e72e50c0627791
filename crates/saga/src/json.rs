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
