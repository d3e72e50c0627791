use std::time::Duration;

use crate::Moment;
use crate::moment::nanos;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How long the last calls took: quantiles over the last 30 to 60 seconds.
///
/// A log-linear histogram. A quantile is never less than the true one and at most 1/32 (3.1 %) or 5 µs more,
/// up to 68 s; anything slower counts as off the scale. Two halves of 30 s take turns, the older one is emptied
/// when its turn comes, so what is old is forgotten without a clock of its own.
///
/// Recording is one relaxed addition; the counters are not striped over threads, because latencies spread over
/// the buckets by themselves and 5 KiB a histogram is enough. While a half is emptied, samples of other threads
/// may be lost or kept: this is a statistic, no ledger.
#[derive(Debug)]
pub struct Latency {
    halves: [Half; 2],
}

#[derive(Debug)]
struct Half {
    /// Which 30 s since the origin the counts belong to, one more; zero before the first, `EMPTYING` meanwhile.
    turn: AtomicU64,
    counts: Box<[AtomicU32]>,
}

const HALF_NANOS: u64 = 30_000_000_000;
const EMPTYING: u64 = u64::MAX;

/// Latencies are counted in units of 2^12 ns, about 4 µs: finer differences are noise to a timer.
const UNIT_BITS: u32 = 12;
/// 2^5 buckets for every doubling.
#[cfg(not(loom))]
const STEP_BITS: u32 = 5;
/// 2^24 units are 68 s.
#[cfg(not(loom))]
const SCALE_BITS: u32 = 24;
// Loom looks at every cell in every order: two buckets are a histogram to it.
#[cfg(loom)]
const STEP_BITS: u32 = 1;
#[cfg(loom)]
const SCALE_BITS: u32 = 1;

/// Buckets of the scale, and one for what is off it.
const BUCKETS: usize = ((SCALE_BITS - STEP_BITS + 1) << STEP_BITS) as usize + 1;

impl Latency {
    /// An empty histogram.
    pub fn new() -> Self {
        Self {
            halves: std::array::from_fn(|_| Half {
                turn: AtomicU64::new(0),
                counts: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            }),
        }
    }

    /// Counts one call that took `latency` and ended at `now`.
    pub fn record(&self, latency: Duration, now: Moment) {
        let turn = turn(now);
        let half = self.half(turn);
        let seen = half.turn.load(Ordering::Relaxed);
        if seen < turn {
            half.empty(seen, turn);
        }
        // A late sample of the turn before last lands among newer ones, where it does no harm.
        half.counts[bucket(latency)].fetch_add(1, Ordering::Relaxed);
    }

    /// The latency that a share `q` (0.0..=1.0) of the calls did not exceed.
    ///
    /// None if fewer than `min_samples` calls are known, or no call at all; [`Duration::MAX`] if it is off the
    /// scale.
    pub fn quantile(&self, q: f64, min_samples: u64, now: Moment) -> Option<Duration> {
        let turn = turn(now);
        let mut counts = [0u64; BUCKETS];
        for turn in [turn - 1, turn] {
            let half = self.half(turn);
            if half.turn.load(Ordering::Acquire) == turn {
                for (sum, count) in counts.iter_mut().zip(&half.counts) {
                    *sum += u64::from(count.load(Ordering::Relaxed));
                }
            }
        }
        let samples: u64 = counts.iter().sum();
        if samples < min_samples.max(1) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most `samples`, and a negative or missing q becomes 0"
        )]
        let rank = ((samples as f64 * q.clamp(0.0, 1.0)).ceil() as u64).clamp(1, samples);
        let mut below = 0;
        let reached = counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        reached.map(upper_edge)
    }

    fn half(&self, turn: u64) -> &Half {
        &self.halves[(turn % 2) as usize]
    }
}

impl Half {
    /// Empties the half for `turn`, unless another thread is at it.
    fn empty(&self, seen: u64, turn: u64) {
        let mine = self
            .turn
            .compare_exchange(seen, EMPTYING, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if mine {
            for count in &self.counts {
                // A swap and no store: to loom, a store may slip under an addition that it came after.
                count.swap(0, Ordering::Relaxed);
            }
            self.turn.store(turn, Ordering::Release);
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// Which half-window this is, from 1.
fn turn(now: Moment) -> u64 {
    now.as_nanos() / HALF_NANOS + 1
}

/// Below 2^5 units every unit has its bucket; above, every doubling has 2^5 of equal width.
fn bucket(latency: Duration) -> usize {
    let units = nanos(latency) >> UNIT_BITS;
    if units >> SCALE_BITS > 0 {
        return BUCKETS - 1;
    }
    let doublings = (u64::BITS - (units | 1).leading_zeros()).saturating_sub(STEP_BITS + 1);
    let bucket = (u64::from(doublings) << STEP_BITS) + (units >> doublings);
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// The end of a bucket: no latency counted in it is longer.
fn upper_edge(bucket: usize) -> Duration {
    if bucket == BUCKETS - 1 {
        return Duration::MAX;
    }
    let bucket = bucket as u64;
    let doublings = (bucket >> STEP_BITS).saturating_sub(1);
    let units = bucket + 1 - (doublings << STEP_BITS);
    Duration::from_nanos(units << doublings << UNIT_BITS)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Moment = Moment::from_nanos(0);

    fn after(seconds: u64) -> Moment {
        START.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!(bucket(Duration::ZERO), 0);
        for index in 0..BUCKETS - 1 {
            let edge = upper_edge(index);
            assert_eq!(bucket(edge.saturating_sub(Duration::from_nanos(1))), index);
            assert_eq!(bucket(edge), index + 1);
        }
    }

    proptest! {
        /// CALL-16: a quantile is never below the true one and at most 1/32 or 5 µs above it.
        #[test]
        fn quantiles_are_close_from_above(
            mut micros in prop::collection::vec(prop_oneof![1u64..2_000, 1u64..60_000_000], 1..300),
            q in 0.0f64..=1.0,
        ) {
            let latency = Latency::new();
            for micros in &micros {
                latency.record(Duration::from_micros(*micros), START);
            }
            micros.sort_unstable();
            let not_over = |share: usize| share as f64 >= micros.len() as f64 * q;
            let rank = (1..=micros.len()).find(|rank| not_over(*rank)).unwrap_or(1);
            let truth = Duration::from_micros(micros[rank - 1]);
            let answer = latency.quantile(q, 1, START).unwrap();
            prop_assert!(answer >= truth, "{answer:?} < {truth:?}");
            prop_assert!(answer <= (truth + truth / 32).max(truth + Duration::from_micros(5)), "{answer:?} > {truth:?}");
        }

        /// CALL-16: no latency, quantile or time makes it panic.
        #[test]
        fn takes_anything(seconds in any::<u64>(), q in any::<f64>(), at in any::<u64>()) {
            let latency = Latency::new();
            let now = Moment::from_nanos(at);
            latency.record(Duration::new(seconds, 0), now);
            prop_assert!(latency.quantile(q, 0, now).is_some());
            prop_assert!(latency.quantile(f64::NAN, 0, now).is_some());
        }
    }

    /// CALL-16: too few samples are no answer.
    #[test]
    fn wants_its_samples() {
        let latency = Latency::new();
        assert_eq!(latency.quantile(0.5, 0, START), None);
        for _ in 0..9 {
            latency.record(Duration::from_millis(1), START);
        }
        assert_eq!(latency.quantile(0.5, 10, START), None);
        assert!(latency.quantile(0.5, 9, START).is_some());
    }

    /// CALL-16: samples count for 30 s at least and 60 s at most.
    #[test]
    fn forgets_in_halves() {
        let latency = Latency::new();
        latency.record(Duration::from_millis(100), after(29));
        assert!(latency.quantile(1.0, 1, after(59)).is_some());
        assert_eq!(latency.quantile(1.0, 1, after(60)), None);
        latency.record(Duration::from_millis(1), after(60));
        assert!(latency.quantile(1.0, 1, after(60)) < Some(Duration::from_millis(2)));
        // A clock a little behind reads the half it finds.
        latency.record(Duration::from_millis(1), after(59));
        assert!(latency.quantile(1.0, 1, after(61)).is_some());
    }

    /// CALL-16: what is slower than the scale is not mistaken for a latency on it.
    #[test]
    fn slower_than_the_scale_is_said() {
        let latency = Latency::new();
        latency.record(Duration::from_secs(69), START);
        assert_eq!(latency.quantile(0.5, 1, START), Some(Duration::MAX));
    }
}
