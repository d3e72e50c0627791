use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// A store's clock: that of the machine, or one that a test sets. All clones are the same.
///
/// It never goes back. Where the machine's is behind what was seen, because it was wrong and is right again, it goes on
/// from there as fast as time passes, so what expires still does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    source: Source,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    Machine,
    #[cfg(feature = "test-util")]
    Test(TestClock),
}

/// The latest time that was not the source's own past, and how much time had passed then.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    time: Timestamp,
    passed: Duration,
}

impl Seen {
    fn now(self, passed: Duration) -> Timestamp {
        let since = passed.saturating_sub(self.passed).as_millis();
        // Cut off, not rounded up: it may be asked very often.
        let millis = u64::try_from(since).unwrap_or(u64::MAX);
        Timestamp(self.time.0.saturating_add(millis).min(i64::MAX as u64))
    }
}

impl Clock {
    #[cfg(feature = "test-util")]
    pub(crate) fn of_test(clock: TestClock) -> Self {
        Self {
            source: Source::Test(clock),
            seen: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.after(Timestamp::default())
    }

    /// The time, when this one was seen in the file.
    pub(crate) fn after(&self, elsewhere: Timestamp) -> Timestamp {
        let passed = self.source.passed();
        let known = elsewhere.max(self.source.time());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = seen.now(passed);
        if now < known {
            *seen = Seen {
                time: known,
                passed,
            };
        }
        now.max(known)
    }

    /// What the source shows, whether that was wrong before or not.
    #[cfg(feature = "sqlite")]
    pub(crate) fn shown(&self) -> Timestamp {
        self.source.time()
    }
}

/// What is known of a server's clock, which is asked in statements; the machine's own says nothing about it.
#[cfg(feature = "postgres")]
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerClock {
    source: Source,
    seen: Arc<Mutex<Seen>>,
}

#[cfg(feature = "postgres")]
impl ServerClock {
    #[cfg(feature = "test-util")]
    pub(crate) fn of_test(clock: TestClock) -> Self {
        Self {
            source: Source::Test(clock),
            seen: Arc::default(),
        }
    }

    /// What it shows at least: what was seen of it, and what has passed since. Where a test sets the time, that is seen.
    pub(crate) fn at_least(&self) -> Timestamp {
        if self.is_of_test() {
            self.saw(self.source.time());
        }
        self.lock().now(self.source.passed())
    }

    /// It was seen to show this.
    pub(crate) fn saw(&self, time: Timestamp) {
        let passed = self.source.passed();
        let mut seen = self.lock();
        if seen.now(passed) < time {
            *seen = Seen { time, passed };
        }
    }

    /// Whether a test sets it, and not a server.
    pub(crate) fn is_of_test(&self) -> bool {
        !matches!(self.source, Source::Machine)
    }

    /// What this machine shows, or the test.
    pub(crate) fn here(&self) -> Timestamp {
        self.source.time()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn time(&self) -> Timestamp {
        match self {
            Self::Machine => machine(),
            #[cfg(feature = "test-util")]
            Self::Test(clock) => clock.now(),
        }
    }

    /// Time since some moment, however the clock is set.
    fn passed(&self) -> Duration {
        match self {
            Self::Machine => passed(),
            #[cfg(feature = "test-util")]
            Self::Test(clock) => clock.passed(),
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

#[expect(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads time"
)]
/// Time since it was asked first, by a clock that nobody sets.
pub(crate) fn passed() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    now.saturating_duration_since(*START.get_or_init(|| now))
}

/// A clock that stands until a test moves it, or goes with the runtime's.
#[cfg(feature = "test-util")]
#[derive(Clone, Debug)]
pub struct TestClock {
    hands: Arc<Mutex<Seen>>,
    since: Option<tokio::time::Instant>,
}

#[cfg(feature = "test-util")]
impl TestClock {
    /// A clock that stands at this time.
    pub fn at(time: Timestamp) -> Self {
        let passed = Duration::ZERO;
        Self {
            hands: Arc::new(Mutex::new(Seen { time, passed })),
            since: None,
        }
    }

    /// A clock that shows this time now and goes with the clock of the runtime, which may be paused.
    pub fn going_from(time: Timestamp) -> Self {
        Self {
            since: Some(tokio::time::Instant::now()),
            ..Self::at(time)
        }
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        self.hands().time.plus(self.gone())
    }

    fn passed(&self) -> Duration {
        self.hands().passed.saturating_add(self.gone())
    }

    fn gone(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn hands(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets it, forwards or back, while no time passes.
    pub fn set(&self, time: Timestamp) {
        self.hands().time = time.minus(self.gone());
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let mut hands = self.hands();
        hands.time = hands.time.plus(time);
        hands.passed = hands.passed.saturating_add(time);
    }
}
