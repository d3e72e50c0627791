//! What to do about a job at a moment, from what was decided before.

use std::iter::successors;
use std::time::Duration;

use backstay_core::Invalid;
use backstay_store::Timestamp;

use super::cron::Times;

/// So many skipped firings are counted; more are told as so many.
pub(super) const COUNTED: u32 = 1_000;

const DEFAULT_TOLERANCE: Duration = Duration::from_secs(60);
const LONGEST_TOLERANCE: Duration = Duration::from_secs(366 * 24 * 60 * 60);
const DEFAULT_MOST: u32 = 100;
const MOST: u32 = 1_000;

/// What becomes of firings whose time has passed: nobody led, the job's last firing took long, or the clock was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// The newest one runs if it is at most so late: 1 s to 366 days.
    Skip(Duration),
    /// The newest one runs, however late.
    #[default]
    Once,
    /// All run one after the other, oldest first, but at most the so many newest: 1 to 1,000.
    All(u32),
}

impl Missed {
    /// Late by at most a minute: a new leader is there sooner.
    pub const SKIP: Self = Self::Skip(DEFAULT_TOLERANCE);
    /// At most the hundred newest.
    pub const ALL: Self = Self::All(DEFAULT_MOST);

    pub(super) fn check(self, field: &str) -> Result<(), Invalid> {
        let field = format!("{field}.missed");
        match self {
            Self::Skip(late) if !(Duration::from_secs(1)..=LONGEST_TOLERANCE).contains(&late) => {
                let limit = format!("must be late by 1s..={LONGEST_TOLERANCE:?}");
                Err(Invalid::new(field, format!("{late:?}"), limit))
            }
            Self::All(most) if !(1..=MOST).contains(&most) => Err(Invalid::new(
                field,
                most,
                format!("must be at most 1..={MOST}"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether a firing is too late to run.
    pub(super) fn skips(self, due: Timestamp, now: Timestamp) -> bool {
        matches!(self, Self::Skip(late) if due.plus(late) < now)
    }

    fn keeps(self) -> u32 {
        match self {
            Self::Skip(_) | Self::Once => 1,
            Self::All(most) => most,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is due before, whatever the clock does; none if nothing ever will be.
    Wait(Option<Timestamp>),
    /// Firings are due: leave some out, and run one.
    Go {
        skipped: Option<Skipped>,
        run: Option<Timestamp>,
    },
}

/// Firings that do not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) count: u32,
    pub(super) last: Timestamp,
}

/// Decides on all that is due after `through`, up to which all was decided.
pub(super) fn decide(
    times: &Times,
    missed: Missed,
    through: Timestamp,
    now: Timestamp,
) -> Decision {
    let next = match times.after(through) {
        Some(next) if next <= now => next,
        next => return Decision::Wait(next),
    };
    let due = newest(times, through, now, missed.keeps() + COUNTED);
    // Looking back finds what looking forward does; if ever it does not, nothing is lost.
    let due = if due.is_empty() { vec![next] } else { due };
    let newest = due[0];
    let most = usize::try_from(missed.keeps()).unwrap_or(usize::MAX);
    let kept = if missed.skips(newest, now) {
        0
    } else {
        due.len().min(most)
    };
    let older = &due[kept..];
    Decision::Go {
        skipped: older.first().map(|last| Skipped {
            count: u32::try_from(older.len()).unwrap_or(COUNTED).min(COUNTED),
            last: *last,
        }),
        run: due[..kept].last().copied(),
    }
}

/// What is due after `through` until now, newest first, at most so many.
fn newest(times: &Times, through: Timestamp, now: Timestamp, most: u32) -> Vec<Timestamp> {
    let before = |due: &Timestamp| times.at_or_before(due.minus(Duration::from_secs(1)));
    let due = successors(times.at_or_before(now), before);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    due.take_while(|due| *due > through).take(most).collect()
}

#[cfg(test)]
mod tests;
