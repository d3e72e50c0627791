//! The one place of this crate that reads time.
//!
//! tokio's clock rules wherever it can be paused, which is when tokio is built with `test-util`: in tests and
//! simulations. Everywhere else time is read from the processor's counter, at less than half the cost.

mod counter;
mod pause;

use std::sync::OnceLock;

use backstay_core::Moment;
use tokio::time::Instant;

use self::counter::Counter;
use self::pause::CAN_PAUSE;

/// Moments count from here. A paused clock of another runtime may stand before the instant that was seen
/// first, so the origin lies in the middle of what a moment can hold.
const MIDDLE: Moment = Moment::from_nanos(1 << 62);

/// The time now.
#[inline]
pub(crate) fn now() -> Moment {
    if CAN_PAUSE {
        return from_tokio();
    }
    counter().now(from_tokio)
}

/// The time now, where a timer that was set to `due` has fired.
pub(crate) fn fired(due: Moment) -> Moment {
    if CAN_PAUSE {
        return from_tokio();
    }
    counter().fired(due, from_tokio)
}

/// What a timer is set to for `moment`, seen from `now`.
pub(crate) fn instant(moment: Moment, now: Moment) -> Instant {
    Instant::now() + moment.since(now)
}

#[inline]
fn counter() -> &'static Counter {
    static COUNTER: OnceLock<Counter> = OnceLock::new();
    COUNTER.get_or_init(|| {
        let counter = Counter::start(quanta::Clock::new());
        // Both clocks count from the same instant.
        from_tokio();
        counter
    })
}

fn from_tokio() -> Moment {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let (origin, now) = (*ORIGIN.get_or_init(Instant::now), Instant::now());
    if now >= origin {
        MIDDLE.plus(now.duration_since(origin))
    } else {
        MIDDLE.minus(origin.duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Paused time rules in tests, so no test waits and none is flaky.
    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_is_followed() {
        const { assert!(CAN_PAUSE) };
        let start = now();
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!(now().since(start), Duration::from_secs(1000));
    }
}
