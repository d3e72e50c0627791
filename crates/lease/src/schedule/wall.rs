use std::fmt;

use backstay_store::Timestamp;

/// The clock by which jobs are due.
///
/// Set back, it makes no firing run again; set forward, it makes firings due, which are run or skipped as
/// [`Missed`](super::Missed) says.
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineClock;

impl WallClock for MachineClock {
    fn now(&self) -> Timestamp {
        // The one place of this crate that reads it.
        let millis = jiff::Timestamp::now().as_millisecond();
        Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
    }
}

#[cfg(feature = "test-util")]
impl WallClock for backstay_store::TestClock {
    fn now(&self) -> Timestamp {
        backstay_store::TestClock::now(self)
    }
}
