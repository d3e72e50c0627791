use std::path::Path;
use std::time::Duration;

use backstay_core::Invalid;

use super::{OpenError, SqliteStore};
use crate::Limits;
use crate::clock::Clock;
use crate::limits::check_time;

/// How a store in a file is opened.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`"]
pub struct SqliteOptions {
    pub(super) limits: Limits,
    pub(super) busy_timeout: Duration,
    pub(super) work_timeout: Duration,
    pub(super) remember: Duration,
    pub(super) readers: u32,
    pub(super) clock: Clock,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            busy_timeout: Duration::from_secs(5),
            work_timeout: Duration::from_secs(1),
            remember: Duration::from_secs(24 * 60 * 60),
            readers: 4,
            clock: Clock::default(),
        }
    }
}

impl SqliteOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How large what the store takes may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long a write waits for other processes that write. 1 ms to 366 days; 5 s: they hold the file for
    /// milliseconds, unless one copies it or is stopped.
    pub fn busy_timeout(mut self, time: Duration) -> Self {
        self.busy_timeout = time;
        self
    }

    /// How long the work of [`commit_with`](SqliteStore::commit_with) may take. 1 ms to 366 days; 1 s: everybody
    /// else's writes wait for it.
    pub fn work_timeout(mut self, time: Duration) -> Self {
        self.work_timeout = time;
        self
    }

    /// How long commits are found by their id, and deletions are told to watchers. 1 ms to 366 days; 24 h: longer than
    /// anybody tries again.
    pub fn remember(mut self, time: Duration) -> Self {
        self.remember = time;
        self
    }

    /// How many reads run at once. 1 to 64; 4: more do not help where the file is in memory.
    pub fn readers(mut self, readers: u32) -> Self {
        self.readers = readers;
        self
    }

    /// Reads the time from this clock.
    #[cfg(feature = "test-util")]
    pub fn clock(mut self, clock: crate::TestClock) -> Self {
        self.clock = Clock::of_test(clock);
        self
    }

    /// Opens the store in this file, or makes it in a folder that is there.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what is wrong with the file, the place or the options.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, OpenError> {
        SqliteStore::open_with(path.as_ref().to_owned(), self).await
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        self.limits.validate()?;
        check_time("busy_timeout", self.busy_timeout)?;
        check_time("work_timeout", self.work_timeout)?;
        check_time("remember", self.remember)?;
        if !(1..=64).contains(&self.readers) {
            return Err(Invalid::new("readers", self.readers, "must be in 1..=64"));
        }
        Ok(())
    }
}
