//! The processor's counter as a clock, and when it is given up for another.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use backstay_core::Moment;

use super::MIDDLE;

/// When a timer has fired, the counter is at most this far behind, or it was set back meanwhile.
const DRIFT: Duration = Duration::from_secs(10);

/// In place of the first reading: every reading is before it.
const GIVEN_UP: u64 = u64::MAX;

/// Time by the processor's counter as long as it can be trusted, by the fall-back from then on.
///
/// The counter may be set back while a machine is suspended or moved. It shows in a reading before the first one,
/// or in a timer that fires too early. The fall-back is the clock of the timers, counts from the same instant, and
/// is read only when it is needed.
pub(super) struct Counter {
    clock: quanta::Clock,
    /// The first reading, or [`GIVEN_UP`].
    first: AtomicU64,
    /// How many nanoseconds the fall-back is moved forward. It only grows, so time does not go back.
    ahead: AtomicU64,
}

impl Counter {
    pub(super) fn start(clock: quanta::Clock) -> Self {
        Self {
            first: AtomicU64::new(clock.raw()),
            ahead: AtomicU64::new(0),
            clock,
        }
    }

    /// The time now.
    #[inline]
    pub(super) fn now(&self, fall_back: impl FnOnce() -> Moment) -> Moment {
        let (raw, first) = (self.clock.raw(), self.first.load(Acquire));
        if raw < first {
            return self.give_up(MIDDLE, fall_back);
        }
        MIDDLE.plus_nanos(self.clock.delta_as_nanos(first, raw))
    }

    /// The time now, where a timer that was set to `due` has fired.
    pub(super) fn fired(&self, due: Moment, fall_back: impl Fn() -> Moment) -> Moment {
        let now = self.now(&fall_back);
        if due.since(now) > DRIFT {
            return self.give_up(due, fall_back);
        }
        now
    }

    /// Goes by the fall-back from here on, which takes over at `reached` or later.
    ///
    /// The counter may have run ahead before it was set back, and what waits for a moment must not wait again.
    #[cold]
    fn give_up(&self, reached: Moment, fall_back: impl FnOnce() -> Moment) -> Moment {
        let fall_back = fall_back();
        let missing = reached.as_nanos().saturating_sub(fall_back.as_nanos());
        let mut ahead = self.ahead.load(Relaxed);
        if missing > ahead {
            ahead = self.ahead.fetch_max(missing, Relaxed).max(missing);
        }
        // Last, so that whoever goes by the fall-back knows how far it was moved.
        if self.first.load(Relaxed) != GIVEN_UP {
            self.first.store(GIVEN_UP, Release);
        }
        fall_back.plus_nanos(ahead)
    }
}

#[cfg(test)]
mod tests;
