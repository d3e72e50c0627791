//! Bulkhead: so many at once, so many waiting, and nobody waiting in vain.
//!
//! A [`Gate`] hands out permits. Who finds none free takes a place in a bounded line, or is refused at once
//! where waiting can't help: the line is full, or the wait it can expect leaves no time for the work itself.
//!
//! The line is first in, first out as long as everybody in it is served in good time. Once its head has spent
//! half of its time on waiting, the line is *under pressure* until it runs empty: the newest is served first,
//! those who are passed over after half of their time are shed, and a newcomer to a full line takes the place
//! of the oldest. In a line that is too long somebody fails anyway. First-come order makes that everybody, each
//! served just too late; newest-first keeps the capacity for callers who still wait.
//!
//! Sources: Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012, for the target below which
//! a wait is no reason to act; Maurer, "Fail at Scale", ACM Queue 13(8), 2015, for newest-first under pressure.

mod gate;
mod permits;
mod queue;
#[cfg(test)]
#[cfg(not(loom))]
mod simulation;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod wakes;

use std::time::Duration;

use crate::Invalid;
use crate::invalid::in_range;

pub use gate::{Entry, Gate, GateSnapshot, Permit, Refusal, Turn};
pub use queue::Ticket;
pub use wakes::Wakes;

/// Most permits, and most places in the line.
const MOST: u32 = 1_000_000;

/// Longest `max_wait`; nobody who waits an hour for a permit is still a caller.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// How many at once, how many may wait, and for how long.
///
/// Give `max_wait` where callers may come without a deadline: a line of callers who could wait for ever is
/// never under pressure and stays first in, first out.
///
/// ```
/// # use std::time::Duration;
/// use backstay_core::bulkhead::Bulkhead;
///
/// let bulkhead = Bulkhead::limit(20).queue(10).max_wait(Duration::from_millis(200));
/// assert!(bulkhead.validate("bulkhead").is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Bulkhead {
    limit: u32,
    #[cfg_attr(feature = "serde", serde(default))]
    queue: u32,
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            with = "crate::duration_text::option",
            skip_serializing_if = "Option::is_none"
        )
    )]
    max_wait: Option<Duration>,
}

impl Bulkhead {
    /// At most `limit` at once, 1..=1,000,000; with weights, at most that much weight.
    pub fn limit(limit: u32) -> Self {
        Self {
            limit,
            queue: 0,
            max_wait: None,
        }
    }

    /// So many may wait for a permit, 0..=1,000,000. Default: 0, who finds no permit is refused.
    ///
    /// A line can be no longer than the time its callers have: past that they are refused, however many
    /// places there are.
    #[must_use]
    pub fn queue(mut self, places: u32) -> Self {
        self.queue = places;
        self
    }

    /// Nobody waits longer than this, 1 ms..=1 h. Default: until the call's deadline.
    #[must_use]
    pub fn max_wait(mut self, longest: Duration) -> Self {
        self.max_wait = Some(longest);
        self
    }

    /// Refuses what is out of range; `field` is the path of these options, for the error.
    pub fn validate(&self, field: &str) -> Result<(), Invalid> {
        in_range(&format!("{field}.limit"), self.limit, 1..=MOST)?;
        in_range(&format!("{field}.queue"), self.queue, 0..=MOST)?;
        match self.max_wait {
            Some(longest) => in_range(
                &format!("{field}.max_wait"),
                longest,
                Duration::from_millis(1)..=LONGEST_WAIT,
            ),
            None => Ok(()),
        }
    }
}
