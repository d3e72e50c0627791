//! The one place that reads the clock.

use std::time::Instant;

/// The moment now.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench measures real time, so it owns its clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
