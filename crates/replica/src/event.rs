use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::{Broken, SourceError, Version};

/// What happens to a copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A file of an earlier process is served until the source is heard.
    WarmStarted {
        /// What it holds.
        version: Version,
        /// Its age.
        age: Duration,
        /// How many keys it has.
        entries: usize,
    },
    /// The file of an earlier process is not used.
    WarmIgnored {
        /// Why.
        reason: WarmError,
    },
    /// The file for the next process could not be written. It is tried again.
    WarmNotSaved {
        /// Why.
        reason: WarmError,
    },
    /// A snapshot has become the copy.
    Synced {
        /// What it holds.
        version: Version,
        /// How many keys it has.
        entries: usize,
    },
    /// The source began another history, as after a restore from a backup.
    EpochChanged {
        /// What the copy held.
        from: Version,
        /// What it holds now.
        to: Version,
    },
    /// A session with the source has ended.
    SessionEnded {
        /// Why.
        reason: Ended,
        /// When the next one begins.
        retry_in: Duration,
    },
    /// Time has come to say how old the copy is: once a heartbeat.
    Age {
        /// Its age; none while there is no copy.
        age: Option<Duration>,
        /// How many keys it has.
        entries: usize,
    },
    /// The copy is not kept any more. Reads go on, and it gets older.
    Stopped,
}

/// Why a session has ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// The source says so.
    #[error(transparent)]
    Failed(SourceError),
    /// It ended without an error.
    #[error("the source has ended the session")]
    Closed,
    /// It proved nothing for two and a half heartbeats.
    #[error("the source has proved nothing for {quiet:?}")]
    Silent {
        /// For so long.
        quiet: Duration,
    },
    /// What it told can't be taken; the next session begins with a snapshot.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Why a file is not used or not written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarmError {
    /// The disk.
    #[error("{0}")]
    Io(Arc<std::io::Error>),
    /// It is not a file of this version, or not whole.
    #[error("it is no file of a copy, or damaged: {0}")]
    Damaged(String),
    /// It is of another source.
    #[error("it is of the source {found:?}, not of {wanted:?}")]
    Foreign {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// Its time is after now, so its age can't be known.
    #[error("its age is not known: the clock is before the file's time")]
    Ageless,
    /// It is older than any read allows, or its age is not certain enough for that.
    #[error("its age is not proved to be within {limit:?}")]
    Stale {
        /// What is allowed.
        limit: Duration,
    },
}

impl From<std::io::Error> for WarmError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

type Hear<E> = dyn Fn(&E) + Send + Sync;

/// Who hears of events, if anybody does.
pub(crate) struct Listener<E>(Vec<Arc<Hear<E>>>);

impl<E> Listener<E> {
    pub(crate) fn add(&mut self, hear: impl Fn(&E) + Send + Sync + 'static) {
        self.0.push(Arc::new(hear));
    }

    pub(crate) fn hear(&self, event: &E) {
        for hear in &self.0 {
            // A copy must not stop to be kept because of who listens.
            let _ = catch_unwind(AssertUnwindSafe(|| hear(event)));
        }
    }
}

impl<E> Default for Listener<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<E> Clone for Listener<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> fmt::Debug for Listener<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}
