//! The one place of this crate that reads time. tokio's clock is the seam: paused in tests, real otherwise.

use std::sync::OnceLock;
use std::time::Duration;

use backstay_core::Moment;
use tokio::time::Instant;

/// Moments count from here. A paused clock of another runtime may stand before the instant that was seen
/// first, so the origin lies in the middle of what a moment can hold.
const MIDDLE: Moment = Moment::from_nanos(1 << 62);

/// As far as a timer is ever set. Timers do not take the end of time.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// The time now.
pub(crate) fn now() -> Moment {
    let (origin, now) = (origin(), Instant::now());
    if now >= origin {
        MIDDLE.plus(now.duration_since(origin))
    } else {
        MIDDLE.minus(origin.duration_since(now))
    }
}

/// What a timer is set to for `moment`, seen from `now`.
pub(crate) fn instant(moment: Moment, now: Moment) -> Instant {
    Instant::now() + moment.since(now).min(FAR)
}
