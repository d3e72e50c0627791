//! From the log of an arm's calls to its numbers. All of it is arithmetic.
//!
//! A call is booked at the moment it was due, so goodput never exceeds what was offered.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::DEADLINE;

/// Recovered means this share of what is offered, in a window of this length.
const RECOVERED_SHARE: f64 = 0.95;
pub(crate) const RECOVERED_WINDOW: Duration = Duration::from_secs(5);
/// The window slides in steps of this length.
const STEP: Duration = Duration::from_millis(100);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ended {
    /// Not yet; at the end of a run that means lost.
    Open,
    /// With an answer, so long after it was due.
    Answered(Duration),
    /// With an error or a refusal.
    Failed,
}

/// One call, as the generator saw it. All times count from the start of the load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) due: Duration,
    /// How late the generator started it; none when it never did.
    pub(crate) lag: Option<Duration>,
    pub(crate) ended: Ended,
}

impl Entry {
    fn is_good(&self) -> bool {
        matches!(self.ended, Ended::Answered(after) if after <= DEADLINE)
    }

    fn is_late(&self) -> bool {
        matches!(self.ended, Ended::Answered(after) if after > DEADLINE)
    }

    /// Time to the answer; a call without one took for ever.
    fn latency(&self) -> Duration {
        match self.ended {
            Ended::Answered(after) => after,
            Ended::Open | Ended::Failed => Duration::MAX,
        }
    }
}

/// All calls of one arm, in the order in which they are due.
#[derive(Debug)]
pub(crate) struct Log {
    entries: Mutex<Vec<Entry>>,
}

impl Log {
    pub(crate) fn new(arrivals: &[Duration]) -> Self {
        let open = |due: &Duration| Entry {
            due: *due,
            lag: None,
            ended: Ended::Open,
        };
        Self {
            entries: Mutex::new(arrivals.iter().map(open).collect()),
        }
    }

    pub(crate) fn started(&self, call: u64, lag: Duration) {
        if let Some(entry) = self.lock().get_mut(position(call)) {
            entry.lag = Some(lag);
        }
    }

    pub(crate) fn ended(&self, call: u64, ended: Ended) {
        if let Some(entry) = self.lock().get_mut(position(call)) {
            entry.ended = ended;
        }
    }

    /// The calls due in this span, as they stand now.
    pub(crate) fn due_in(&self, span: &Range<Duration>) -> Vec<Entry> {
        within(&self.lock(), span).to_vec()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Every write is one assignment, so a poisoned log is still whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn position(call: u64) -> usize {
    usize::try_from(call).unwrap_or(usize::MAX)
}

/// The entries due in a span; entries are sorted by when they are due.
pub(crate) fn within<'a>(entries: &'a [Entry], span: &Range<Duration>) -> &'a [Entry] {
    let from = entries.partition_point(|entry| entry.due < span.start);
    let until = entries
        .partition_point(|entry| entry.due < span.end)
        .max(from);
    &entries[from..until]
}

/// Good answers a second among the calls due in this span; none for an empty span.
pub(crate) fn goodput(entries: &[Entry], span: &Range<Duration>) -> Option<f64> {
    let length = span.end.checked_sub(span.start)?;
    (!length.is_zero()).then(|| good(within(entries, span)) as f64 / length.as_secs_f64())
}

pub(crate) fn good(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| entry.is_good()).count()
}

/// Calls answered, but after the deadline.
pub(crate) fn late(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| entry.is_late()).count()
}

/// Calls that never got an answer: failed, refused, or still open at the end.
pub(crate) fn lost(entries: &[Entry]) -> usize {
    entries
        .iter()
        .filter(|entry| !matches!(entry.ended, Ended::Answered(_)))
        .count()
}

/// From the start of the span to the first window in which the arm serves nearly all of its load.
///
/// `None` when there is no such window in the span.
pub(crate) fn recovery(entries: &[Entry], span: &Range<Duration>) -> Option<Duration> {
    let mut after = Duration::ZERO;
    while span.start + after + RECOVERED_WINDOW <= span.end {
        let from = span.start + after;
        let window = within(entries, &(from..from + RECOVERED_WINDOW));
        if good(window) as f64 >= RECOVERED_SHARE * window.len() as f64 {
            return Some(after);
        }
        after += STEP;
    }
    None
}

/// The latency that this share of the offered calls did not exceed, by nearest rank.
///
/// A lost call took for ever, so the quantile is `None` when it falls on one.
pub(crate) fn quantile(entries: &[Entry], share: f64) -> Option<Duration> {
    let mut latencies: Vec<Duration> = entries.iter().map(Entry::latency).collect();
    nearest_rank(&mut latencies, share).filter(|latency| *latency != Duration::MAX)
}

/// How late the generator was for all but one in a hundred calls.
pub(crate) fn lag_p99(entries: &[Entry]) -> Option<Duration> {
    let mut lags: Vec<Duration> = entries.iter().filter_map(|entry| entry.lag).collect();
    nearest_rank(&mut lags, 0.99)
}

fn nearest_rank(values: &mut [Duration], share: f64) -> Option<Duration> {
    let last = values.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is at least zero and at most the length"
    )]
    let rank = (share * values.len() as f64).ceil() as usize;
    Some(
        *values
            .select_nth_unstable(rank.saturating_sub(1).min(last))
            .1,
    )
}

#[cfg(test)]
mod tests;
