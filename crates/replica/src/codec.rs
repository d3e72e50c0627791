use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::{Change, SourceError};

type BoxError = Box<dyn Error + Send + Sync>;
type Reads<From, T> = Arc<dyn Fn(&From) -> Result<T, BoxError> + Send + Sync>;

/// How a source's text and bytes become keys and values. Cheap to clone.
///
/// What can't be read ends the session: a copy that leaves a key out without a word would be worse than an old one.
pub struct Codec<K, V> {
    key: Reads<str, K>,
    value: Reads<[u8], V>,
}

impl<K, V> Codec<K, V> {
    /// Reads keys and values by these.
    pub fn new(
        key: impl Fn(&str) -> Result<K, BoxError> + Send + Sync + 'static,
        value: impl Fn(&[u8]) -> Result<V, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            key: Arc::new(key),
            value: Arc::new(value),
        }
    }

    /// Keys by their `FromStr`, values from JSON.
    pub fn json() -> Self
    where
        K: FromStr<Err: Into<BoxError>>,
        V: DeserializeOwned,
    {
        let value = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(Into::into);
        Self::new(|text| text.parse().map_err(Into::into), value)
    }

    pub(crate) fn change(
        &self,
        key: &str,
        number: u64,
        value: Option<&[u8]>,
    ) -> Result<Change<K, V>, SourceError> {
        let unreadable = |what: &'static str, reason| {
            let key = key.to_owned();
            SourceError::new(Unreadable { what, key, reason })
        };
        Ok(Change {
            key: (self.key)(key).map_err(|reason| unreadable("name", reason))?,
            number,
            value: value
                .map(|value| (self.value)(value))
                .transpose()
                .map_err(|reason| unreadable("value", reason))?,
        })
    }
}

impl Codec<String, Vec<u8>> {
    /// Keys and values as they are.
    pub fn bytes() -> Self {
        Self::new(|text| Ok(text.to_owned()), |bytes| Ok(bytes.to_vec()))
    }
}

impl<K, V> Clone for Codec<K, V> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

impl<K, V> fmt::Debug for Codec<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the {what} of the key {key:?} can't be read")]
struct Unreadable {
    what: &'static str,
    key: String,
    #[source]
    reason: BoxError,
}
