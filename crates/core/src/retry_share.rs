//! How much of what arrives is retries.

use crate::Moment;
use crate::window::TimeWindow;

/// Ten ticks of 200 ms: two seconds are long enough to tell a storm from a hiccup, and soon over.
const TICK_NANOS: u64 = 200_000_000;

/// Fewer arrivals than this say nothing: two retries of three calls are no storm.
const MIN_ARRIVALS: u64 = 20;

/// Counts the requests of the last two seconds, first attempts and retries.
///
/// When most of what a server gets is retries, its callers have trouble that more retries only feed. Such a
/// server does better to answer "overloaded, do not retry" than to let each caller find out by itself (Site
/// Reliability Engineering, ch. 21). Lock-free.
#[derive(Debug, Default)]
pub struct RetryShare {
    window: TimeWindow<2>,
}

const FIRST: usize = 0;
const RETRY: usize = 1;

impl RetryShare {
    /// No arrivals yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request that says it is its call's attempt number `attempt`; the first is 1.
    pub fn on_arrival(&self, attempt: u32, now: Moment) {
        let kind = if attempt > 1 { RETRY } else { FIRST };
        self.window.add(0, tick(now), kind);
    }

    /// Whether at least half of the arrivals are retries, of twenty or more.
    ///
    /// Reads all counters; worth asking when there is a reason to refuse, not for every request.
    pub fn dominated(&self, now: Moment) -> bool {
        let [first, retries] = self.window.sum(0, tick(now));
        first + retries >= MIN_ARRIVALS && retries >= first
    }
}

fn tick(now: Moment) -> u64 {
    now.as_nanos() / TICK_NANOS
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn arrive(share: &RetryShare, attempt: u32, times: u32, millis: u64) {
        (0..times).for_each(|_| share.on_arrival(attempt, at(millis)));
    }

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    /// CALL-23: half of the arrivals are enough, one less is not.
    #[test]
    fn half_is_domination() {
        let share = RetryShare::new();
        arrive(&share, 1, 11, 0);
        arrive(&share, 2, 10, 0);
        assert!(!share.dominated(at(0)));
        arrive(&share, 7, 1, 0);
        assert!(share.dominated(at(0)));
    }

    /// CALL-23: nineteen arrivals say nothing, whatever they are.
    #[test]
    fn few_arrivals_say_nothing() {
        let share = RetryShare::new();
        arrive(&share, 3, 19, 0);
        assert!(!share.dominated(at(0)));
        arrive(&share, 0, 1, 0);
        assert!(share.dominated(at(0)));
    }

    /// CALL-23: a storm is forgotten two seconds after it ended.
    #[test]
    fn a_storm_passes() {
        let share = RetryShare::new();
        arrive(&share, 2, 100, 199);
        assert!(share.dominated(at(1_999)));
        assert!(!share.dominated(at(2_000)));
        assert!(!share.dominated(Moment::NEVER));
    }
}
