use std::sync::Arc;
use std::time::Duration;

use crate::Version;

/// What a copy says of a key.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reading<V> {
    /// The value; none if the key is not there.
    pub value: Option<Arc<V>>,
    /// Every change of the source up to here is in the copy. It never goes back.
    pub version: Version,
    /// The value was the source's at some moment not longer ago than this.
    ///
    /// Counted from before the request that proved it, until just before the read returned.
    pub age: Duration,
    /// Where the copy came from.
    pub source: Origin,
}

impl<V> Clone for Reading<V> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            ..*self
        }
    }
}

/// Where a copy came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// From the source, since this process began.
    Source,
    /// From the file that an earlier process left; the source has not been heard yet.
    Disk,
}

/// How old a reading may be, and how long to wait for one that is young enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says how to read, and reads nothing"]
pub struct MaxAge {
    pub(crate) limit: Duration,
    pub(crate) wait: Duration,
}

/// Some round trips to a source that is well; who reads has more to do than to wait.
const WAIT: Duration = Duration::from_secs(1);

impl MaxAge {
    /// Whatever there is, however old. It waits only for the first copy.
    pub const ANY: Self = Self::new(Duration::MAX);

    /// At most so old; it waits up to 1 s for a younger copy.
    ///
    /// Less than a round trip to the source can't be had: such a read fails after its wait.
    pub const fn new(age: Duration) -> Self {
        Self {
            limit: age,
            wait: WAIT,
        }
    }

    /// At most so many seconds old; see [`new`](Self::new).
    pub const fn secs(seconds: u64) -> Self {
        Self::new(Duration::from_secs(seconds))
    }

    /// At most so many milliseconds old; see [`new`](Self::new).
    pub const fn millis(millis: u64) -> Self {
        Self::new(Duration::from_millis(millis))
    }

    /// Waits for so long where there is nothing young enough. With no time at all it fails at once.
    pub const fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// Fails at once where there is nothing young enough.
    pub const fn or_fail(self) -> Self {
        self.wait(Duration::ZERO)
    }
}

/// Why a copy says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no copy yet.
    #[error("the source has not been read yet")]
    NotReady,
    /// The copy is older than the read allows, or than the copy allows any read.
    #[error("the copy is {age:?} old, and at most {limit:?} are allowed")]
    Stale {
        /// Its age, at most.
        age: Duration,
        /// What is allowed.
        limit: Duration,
    },
    /// The copy does not hold that version, and did not get it in time.
    #[error("the copy holds {held}, and not yet {wanted}")]
    Behind {
        /// What it holds.
        held: Version,
        /// What it should.
        wanted: Version,
    },
}
