//! What stands beside an instance's log, for whoever lists instances.

use backstay_store::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The value of an instance's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) state: Standing,
    /// Milliseconds since 1970.
    pub(crate) since: u64,
    /// Why it is parked or does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// How an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Standing {
    /// It goes on.
    Running,
    /// It waits for a person.
    Parked,
    /// The workers that have its shard do not know its graph.
    NeedsUpgrade,
    /// The workers that have its shard can't read it.
    Unreadable,
    /// All steps are done.
    Done,
    /// All that was done is undone.
    Undone,
    /// A person said that nothing more is done about it.
    Abandoned,
}

/// Whoever wants more reads the log.
const WHY_BYTES: usize = 500;

impl Note {
    pub(crate) fn new(state: Standing, since: Timestamp) -> Self {
        Self {
            state,
            since: since.as_millis(),
            why: None,
        }
    }

    pub(crate) fn because(mut self, why: &str) -> Self {
        let mut end = why.len().min(WHY_BYTES);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        self.why = Some(why[..end].to_owned());
        self
    }

    pub(crate) fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}
