use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use backstay_core::{Effect, Invalid};

use crate::{BatchId, Expected, Position, Version};

/// A batch that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// Of the batch.
    pub id: BatchId,
    /// Of its last change; of a batch that changed nothing, that of the last one before it.
    pub position: Position,
    versions: BTreeMap<String, Version>,
    revisions: BTreeMap<String, Position>,
}

impl Commit {
    /// For a backend: what a batch has come to.
    pub fn new(
        id: BatchId,
        position: Position,
        versions: BTreeMap<String, Version>,
        revisions: BTreeMap<String, Position>,
    ) -> Self {
        Self {
            id,
            position,
            versions,
            revisions,
        }
    }

    /// The version of a stream that the batch appended to, right after it.
    pub fn version(&self, stream: &str) -> Option<Version> {
        self.versions.get(stream).copied()
    }

    /// The revision that the batch gave to a key; none if it deleted it.
    ///
    /// A commit that was found again by its id has only those that are still the newest of their keys.
    pub fn revision(&self, key: &str) -> Option<Position> {
        self.revisions.get(key).copied()
    }
}

/// Why nothing was committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Somebody else was first. Read again and decide anew.
    #[error(transparent)]
    Conflict(Conflict),
    /// A holder with a higher token has written. Stop acting.
    #[error("fenced: token {token} of {name:?} is lower than {highest}")]
    Fenced {
        /// The fence's name.
        name: String,
        /// The batch's token.
        token: u64,
        /// The highest the store has seen.
        highest: u64,
    },
    /// The batch breaks a limit, as it would every time.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store can't say, or can't do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A state that was expected and is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// The stream is at another version.
    #[error("stream {stream:?} is {}", instead("version", (*actual != Version::START).then_some(actual), expected))]
    Stream {
        /// Its name.
        stream: String,
        /// What the batch expected.
        expected: Expected<Version>,
        /// Where it is.
        actual: Version,
    },
    /// The key has another revision or none, or one where none was expected.
    #[error("key {key:?} is {}", instead("revision", actual.as_ref(), expected))]
    Key {
        /// Its name.
        key: String,
        /// What the batch expected.
        expected: Expected<Position>,
        /// Its revision; none if it is absent.
        actual: Option<Position>,
    },
}

/// Where something is, and where it should have been.
fn instead<N: fmt::Display>(unit: &str, actual: Option<&N>, expected: &Expected<N>) -> String {
    match (actual, expected) {
        (Some(actual), Expected::Exactly(wanted)) => format!("at {unit} {actual}, not {wanted}"),
        (Some(actual), _) => format!("at {unit} {actual}, not absent"),
        (None, Expected::Exactly(wanted)) => format!("absent, not at {unit} {wanted}"),
        (None, _) => "absent".to_owned(),
    }
}

impl Conflict {
    /// For a backend: whether a stream is as expected.
    pub fn with_stream(
        stream: &str,
        expected: Expected<Version>,
        actual: Version,
    ) -> Result<(), Self> {
        let holds = match expected {
            Expected::Any => true,
            Expected::Absent => actual == Version::START,
            Expected::Exactly(version) => actual == version,
        };
        let stream = || stream.to_owned();
        holds.then_some(()).ok_or_else(|| Self::Stream {
            stream: stream(),
            expected,
            actual,
        })
    }

    /// For a backend: whether a key is as expected.
    pub fn with_key(
        key: &str,
        expected: Expected<Position>,
        actual: Option<Position>,
    ) -> Result<(), Self> {
        let holds = match expected {
            Expected::Any => true,
            Expected::Absent => actual.is_none(),
            Expected::Exactly(revision) => actual == Some(revision),
        };
        holds.then_some(()).ok_or_else(|| Self::Key {
            key: key.to_owned(),
            expected,
            actual,
        })
    }
}

/// The store can't be asked, or its answer was lost.
#[derive(Clone, Debug)]
pub struct Unavailable {
    effect: Effect,
    cause: Cause,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Others held it for too long.
    Busy,
    /// It may not be written.
    ReadOnly,
    /// No room is left.
    Full,
    /// What it holds does not fit together.
    Corrupt,
    /// It was shut down.
    Closed,
    /// Anything else that the storage says.
    Storage,
}

impl Unavailable {
    /// For a backend: why, and what the call may have done.
    pub fn new(cause: Cause, effect: Effect) -> Self {
        Self {
            effect,
            cause,
            source: None,
        }
    }

    /// For a backend: the same with the error underneath.
    #[must_use]
    pub fn because(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Whether it may have happened: `NotExecuted` or `Unknown`.
    ///
    /// After `Unknown`, commit a clone of the same batch again, or look for its id.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// What stands in the way.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Whether this store will say no more: it is closed or corrupt, and asking again shows the same.
    pub fn is_lasting(&self) -> bool {
        match self.cause {
            Cause::Corrupt | Cause::Closed => true,
            // A server's place may be taken by one that can be written.
            Cause::Busy | Cause::ReadOnly | Cause::Full | Cause::Storage => false,
        }
    }
}

/// Two are equal that say the same; what is underneath is for people.
impl PartialEq for Unavailable {
    fn eq(&self, other: &Self) -> bool {
        (self.effect, self.cause) == (other.effect, other.cause)
    }
}

impl Eq for Unavailable {}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.cause {
            Cause::Busy => "it is busy",
            Cause::ReadOnly => "it is read-only",
            Cause::Full => "no room is left",
            Cause::Corrupt => "it is corrupt",
            Cause::Closed => "it is closed",
            Cause::Storage => "its storage fails",
        };
        let effect = match self.effect {
            Effect::NotExecuted => "nothing was changed",
            Effect::Executed => "the change was made",
            Effect::Unknown => "whether the change was made is unknown",
        };
        write!(f, "the store is unavailable: {cause}; {effect}")
    }
}

impl Error for Unavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// STO-1: a conflict says where things are and where they were expected.
    #[test]
    fn a_conflict_says_where_things_are() {
        let stream = |expected, actual| {
            let conflict = Conflict::with_stream("order-7", expected, Version::new(actual));
            conflict.expect_err("it is elsewhere").to_string()
        };
        let five = Expected::Exactly(Version::new(5));
        assert_eq!(
            stream(five, 1),
            r#"stream "order-7" is at version 1, not 5"#
        );
        assert_eq!(
            stream(five, 0),
            r#"stream "order-7" is absent, not at version 5"#
        );
        let absent = stream(Expected::Absent, 1);
        assert_eq!(absent, r#"stream "order-7" is at version 1, not absent"#);
        let key = |actual: Option<u64>| {
            let expected = Expected::Exactly(Position::new(99));
            let conflict = Conflict::with_key("k", expected, actual.map(Position::new));
            conflict.expect_err("it is elsewhere").to_string()
        };
        assert_eq!(key(Some(2)), r#"key "k" is at revision 2, not 99"#);
        assert_eq!(key(None), r#"key "k" is absent, not at revision 99"#);
    }
}
