use std::sync::Arc;

use backstay_core::Invalid;

/// An idempotency key: the server does a request with the same key once.
///
/// Make it from what the request is about (an order's number and the step), or draw it once for a request and
/// keep it with the request; never draw it anew for a repeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Refuses what can't travel in a header: 1 to 255 printable ASCII characters.
    pub fn check(&self) -> Result<(), Invalid> {
        const LIMIT: &str = "must be 1 to 255 printable ASCII characters";
        let printable = self.0.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if printable && (1..=255).contains(&self.0.len()) {
            return Ok(());
        }
        let shown: String = self.0.chars().take(40).collect();
        Err(Invalid::new("idempotency key", format!("{shown:?}"), LIMIT))
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Arc<str>> for Key {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}
