//! The one place that reads the clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The moment now.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench measures real time, so it owns its clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day, in milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "rows written by hand carry the time as a store's do"
)]
pub(crate) fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
