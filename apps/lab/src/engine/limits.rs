//! What the operating system gives this process.

use std::time::Duration;

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Sockets an arm may hold at its worst, both ends being in this process: 800 calls/s, three
/// attempts each, 250 ms an attempt.
const FILES_PER_ARM: u64 = 1_200;
/// The runtime, the terminal, the report.
const FILES_BESIDE: u64 = 100;

/// Raises the limit of open files as far as these arms need it.
pub(crate) fn make_room_for(arms: usize) -> anyhow::Result<()> {
    let needed = arms as u64 * FILES_PER_ARM + FILES_BESIDE;
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

/// Processor time this process has used, in all threads.
pub(crate) fn processor_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(spent.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(spent.tv_nsec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}
