use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time by the store's clock: milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// So many milliseconds after 1970 began.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970 began.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time and `time` more; what is less than a millisecond counts as one.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        // A signed number must hold it, because databases have no other.
        Self(self.0.saturating_add(millis).min(i64::MAX as u64))
    }

    /// This time less `time`, 1970 at least.
    #[must_use]
    pub fn minus(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

/// Where a backend reads the time: the machine's clock, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    Machine,
    #[cfg(feature = "test-util")]
    Test(TestClock),
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::Machine => machine(),
            #[cfg(feature = "test-util")]
            Self::Test(clock) => clock.now(),
        }
    }

    /// The time that a test has set, where one sets it.
    #[cfg(feature = "postgres")]
    pub(crate) fn set_by_test(&self) -> Option<Timestamp> {
        match self {
            Self::Machine => None,
            #[cfg(feature = "test-util")]
            Self::Test(clock) => Some(clock.now()),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads time"
)]
fn machine() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::default().plus(since.unwrap_or_default())
}

/// A clock that stands until a test moves it.
#[cfg(feature = "test-util")]
#[derive(Clone, Debug)]
pub struct TestClock(std::sync::Arc<std::sync::atomic::AtomicU64>);

#[cfg(feature = "test-util")]
impl TestClock {
    /// A clock that stands at this time.
    pub fn at(time: Timestamp) -> Self {
        Self(std::sync::Arc::new(time.0.into()))
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }

    /// Sets it, forwards or back.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.0, std::sync::atomic::Ordering::SeqCst);
    }

    /// Moves it forward.
    pub fn advance(&self, time: Duration) {
        self.set(self.now().plus(time));
    }
}
