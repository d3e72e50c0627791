//! The one place of this crate that reads time.
//!
//! tokio's clock rules wherever it can be paused, which is when tokio is built with `test-util`: in tests and
//! simulations. Everywhere else time is read from the processor's counter, at less than half the cost.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use backstay_core::Moment;
use tokio::time::Instant;

/// Moments count from here. A paused clock of another runtime may stand before the instant that was seen
/// first, so the origin lies in the middle of what a moment can hold.
const MIDDLE: Moment = Moment::from_nanos(1 << 62);

/// As far as a timer is ever set. Timers do not take the end of time.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The time now.
#[inline]
pub(crate) fn now() -> Moment {
    if CAN_PAUSE || COUNTER_FAILED.load(Relaxed) {
        return from_tokio();
    }
    let (clock, origin) = counter();
    let raw = clock.raw();
    if raw < *origin {
        return distrust_counter();
    }
    MIDDLE.plus_nanos(clock.delta_as_nanos(*origin, raw))
}

/// Goes by tokio's clock from here on: the processor's counter was set back, as a machine that was suspended or
/// moved may do. Both clocks count from the same instant.
#[cold]
pub(crate) fn distrust_counter() -> Moment {
    COUNTER_FAILED.store(true, Relaxed);
    from_tokio()
}

/// What a timer is set to for `moment`, seen from `now`.
pub(crate) fn instant(moment: Moment, now: Moment) -> Instant {
    Instant::now() + moment.since(now).min(FAR)
}

static COUNTER_FAILED: AtomicBool = AtomicBool::new(false);

#[inline]
fn counter() -> &'static (quanta::Clock, u64) {
    static COUNTER: OnceLock<(quanta::Clock, u64)> = OnceLock::new();
    COUNTER.get_or_init(|| {
        let clock = quanta::Clock::new();
        let origin = clock.raw();
        from_tokio();
        (clock, origin)
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

/// Whether tokio has `pause`. Features can't be asked across crates, but names can: the name below is tokio's
/// where tokio has it, because a glob in the inner scope comes before what the outer scope names.
const CAN_PAUSE: bool = {
    const fn pause() -> Missing {
        Missing
    }
    const _: Missing = pause();
    {
        #[cfg_attr(
            not(test),
            expect(
                clippy::wildcard_imports,
                reason = "a name that may be missing can't be imported"
            )
        )]
        use tokio::time::*;
        const _: Option<Sleep> = None;
        exists(pause)
    }
};

struct Missing;

trait Found {
    const FOUND: bool;
}

impl Found for Missing {
    const FOUND: bool = false;
}

/// `tokio::time::pause` returns nothing.
impl Found for () {
    const FOUND: bool = true;
}

const fn exists<Answer: Found>(_: fn() -> Answer) -> bool {
    Answer::FOUND
}

#[cfg(test)]
mod tests {
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
