use bytes::Bytes;

use crate::{Position, Timestamp, Version};

/// An event in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// In the order of all changes.
    pub position: Position,
    /// The stream it is in.
    pub stream: String,
    /// Its place there.
    pub version: Version,
    /// What happened.
    pub kind: String,
    /// As it was given.
    pub data: Bytes,
    /// As it was given.
    pub metadata: Bytes,
    /// When it was committed, by the store's clock.
    pub at: Timestamp,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// As it was given.
    pub value: Bytes,
    /// The position at which it was put.
    pub revision: Position,
    /// From when on it is absent, by the store's clock.
    pub expires_at: Option<Timestamp>,
}

/// The newest change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub key: String,
    /// Its value, or none since it was deleted or has expired.
    pub value: Option<Bytes>,
    /// The position of the change.
    pub revision: Position,
}
