//! What stands beside an instance's log, for whoever lists instances.

use std::fmt;

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
    /// The workers that have its shard can't read it, or whoever lists it can't read how it stands.
    Unreadable,
    /// All steps are done.
    Done,
    /// All that was done is undone.
    Undone,
    /// A person said that nothing more is done about it.
    Abandoned,
}

/// In the words of lists: `running`, `parked`, `needs-upgrade` and so on.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Parked => "parked",
            Self::NeedsUpgrade => "needs-upgrade",
            Self::Unreadable => "unreadable",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Abandoned => "abandoned",
        })
    }
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

    /// What can't be read, as of a newer version, is a note that says so: an instance in no list would be lost.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_else(|error| {
            let since = serde_json::from_slice(bytes).map(|Since { since }| since);
            let since = Timestamp::from_millis(since.unwrap_or_default());
            let why = format!("how it stands was written by another version: {error}");
            Self::new(Standing::Unreadable, since).because(&why)
        })
    }
}

/// What is left of a note that can't be read.
#[derive(Deserialize)]
struct Since {
    since: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SAG-10: a standing prints as it is written.
    #[test]
    fn a_standing_is_one_word() {
        for standing in [
            Standing::Running,
            Standing::Parked,
            Standing::NeedsUpgrade,
            Standing::Unreadable,
            Standing::Done,
            Standing::Undone,
            Standing::Abandoned,
        ] {
            let written = serde_json::to_value(standing).unwrap();
            assert_eq!(written, standing.to_string());
        }
    }

    /// SAG-10: a note of a newer version is unreadable, and says since when and why.
    #[test]
    fn a_note_of_a_newer_version_is_unreadable() {
        let note = Note::read(br#"{"state":"paused","since":7,"why":"for fun"}"#);
        assert_eq!((note.state, note.since), (Standing::Unreadable, 7));
        let why = note.why.unwrap();
        assert!(why.contains("another version"), "{why}");
        assert!(why.contains("`paused`"), "{why}");
        let note = Note::read(b"\xff");
        assert_eq!((note.state, note.since), (Standing::Unreadable, 0));
    }
}
