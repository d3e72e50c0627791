//! What the operating system gives this process.

use std::time::Duration;

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::DEADLINE;
use super::server::{SERVICE_MEAN, SLOTS};

/// The most that an arm sends for each call while all of them fail.
const ATTEMPTS: f64 = if cfg!(feature = "peers") { 4.0 } else { 3.0 };
/// Both ends of a connection are in this process.
const ENDS: f64 = 2.0;
/// Idle connections, the runtime, the terminal, the report.
const BESIDE: f64 = 200.0;

/// Raises the limit of open files as far as arms under this load need it.
pub(crate) fn make_room_for(arms: usize, load: f64) -> anyhow::Result<()> {
    let needed = files_for(arms, load);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        bail!(
            "{arms} arms need {needed} open files and this process may have {}; \
             raise the hard limit (ulimit -Hn) or name fewer arms",
            limit.maximum.unwrap_or_default()
        );
    }
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}

/// Every attempt of an arm at its worst holds a connection until its deadline.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a load is positive and at most 2, and arms are few"
)]
fn files_for(arms: usize, load: f64) -> u64 {
    let capacity = SLOTS as f64 / SERVICE_MEAN.as_secs_f64();
    let open = load * capacity * ATTEMPTS * DEADLINE.as_secs_f64() * ENDS;
    (arms as f64 * (open + BESIDE)).ceil() as u64
}

/// Processor time this process has used, in all threads.
pub(crate) fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(spent.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(spent.tv_nsec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_run_fits_the_smallest_usual_hard_limit() {
        if !cfg!(feature = "peers") {
            assert!(files_for(6, 0.75) <= 4_096);
        }
        assert_eq!(
            files_for(2, 1.0),
            if cfg!(feature = "peers") {
                2_000
            } else {
                1_600
            }
        );
    }
}
