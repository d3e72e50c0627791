//! What is sent. docs/formats.md has it in full.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{SourceError, Version};

/// The parameter of the query that says after which key the next page begins.
pub(super) const AFTER: &str = "after";

/// An answer with a body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Answer {
    Changes {
        epoch: u64,
        after: u64,
        upto: u64,
        /// Whether the server has nothing after `upto`.
        all: bool,
        changes: Vec<Entry>,
    },
    Page {
        epoch: u64,
        /// Where the server is at least. All that changes from here on is told as changes, when the last page is read.
        began: u64,
        page: Vec<Entry>,
        /// After which key the next page begins; none after the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) number: u64,
    /// In base64; none since it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Entry {
    #[cfg(feature = "store")]
    pub(super) fn new(key: &str, number: u64, value: Option<&[u8]>) -> Self {
        Self {
            key: key.to_owned(),
            number,
            value: value.map(|value| STANDARD.encode(value)),
        }
    }

    pub(super) fn value(&self) -> Result<Option<Vec<u8>>, SourceError> {
        let value = self.value.as_ref().map(|value| STANDARD.decode(value));
        value
            .transpose()
            .map_err(|error| SourceError::new(error.to_string()))
    }
}

pub(super) fn tag(version: Version) -> String {
    format!("\"{version}\"")
}

/// The version that a tag names; none where it is another's.
#[cfg(any(test, feature = "store"))]
pub(super) fn version(tag: &str) -> Option<Version> {
    let tag = tag.trim().strip_prefix("W/").unwrap_or(tag.trim());
    let (epoch, number) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('.')?;
    Some(Version::new(epoch.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/formats.md: how a version is written as a tag.
    #[test]
    fn a_tag_is_read_as_it_was_written() {
        let written = Version::new(1_700_000_000_000, 42);
        assert_eq!(tag(written), "\"1700000000000.42\"");
        assert_eq!(version(&tag(written)), Some(written));
        assert_eq!(version("W/\"1.2\""), Some(Version::new(1, 2)));
        for strange in ["", "*", "\"1\"", "1.2", "\"1.2", "\"-1.2\""] {
            assert_eq!(version(strange), None, "{strange}");
        }
    }
}
