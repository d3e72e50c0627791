use std::time::Duration;

use backstay_core::Invalid;
use backstay_core::backoff::Backoff;

/// Short against what people wait for, long against what a request costs.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Half a heartbeat more than two: one may be lost, and one be late.
pub(crate) const DEAD_AFTER: f64 = 2.5;

/// A source that is being restarted is back by then; a process that starts should not wait for longer unasked.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// What a process that is killed loses of its warm start.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// A million small values take some hundred megabytes.
const MAX_ENTRIES: usize = 1_000_000;

/// After a failure a source is asked again within a second, and while it stays away about as often as when it is well.
fn backoff() -> Backoff {
    Backoff::decorrelated(Duration::from_millis(250)).cap(HEARTBEAT)
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) heartbeat: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) max_entries: usize,
    pub(crate) fail_closed: Option<Duration>,
    pub(crate) ready_within: Duration,
    pub(crate) save_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: HEARTBEAT,
            backoff: backoff(),
            max_entries: MAX_ENTRIES,
            fail_closed: None,
            ready_within: READY_WITHIN,
            save_every: SAVE_EVERY,
        }
    }
}

impl Options {
    pub(crate) fn dead_after(&self) -> Duration {
        self.heartbeat.mul_f64(DEAD_AFTER)
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let minute = Duration::from_secs(60);
        let hour = minute * 60;
        within(
            "heartbeat",
            self.heartbeat,
            Duration::from_millis(10),
            minute,
        )?;
        within("ready_within", self.ready_within, Duration::ZERO, hour)?;
        within("save_every", self.save_every, Duration::from_secs(1), hour)?;
        self.backoff.validate("backoff")?;
        if self.max_entries == 0 {
            return Err(Invalid::new("max_entries", 0, "must be at least 1"));
        }
        if let Some(limit) = self.fail_closed
            && limit < self.heartbeat * 2
        {
            let twice = self.heartbeat * 2;
            let relation = format!(
                "must be at least two heartbeats, {twice:?}: the copy of a source that is well would be refused between two"
            );
            return Err(Invalid::new("fail_closed", format!("{limit:?}"), relation));
        }
        Ok(())
    }
}

pub(crate) fn within(
    field: &str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let limit = format!("must be in {least:?}..={most:?}");
    Err(Invalid::new(field, format!("{value:?}"), limit))
}
