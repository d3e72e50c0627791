use super::{BUCKETS, SLOTS, is_newer, slot};
use crate::stripe::{self, Padded, STRIPES};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Counts of `K` kinds over the last ten ticks, striped over threads.
///
/// The caller says how long a tick is by numbering them; ticks never go back for one generation by more than
/// a scheduling delay. Counting is one compare-and-swap in a cell of the thread's own, summing reads every
/// cell: O(1) either way, however many calls the window holds. A cell counts to `u32::MAX` and stays there.
///
/// Exact counts in buckets rather than a moving average: an average weighted by the gaps between calls gives a
/// tight burst of failures almost no weight, and can hide a total outage.
#[derive(Debug)]
pub struct TimeWindow<const K: usize> {
    stripes: Box<[Padded<[[AtomicU64; K]; SLOTS]>]>,
}

/// A cell: generation (4 bits), tick (28 bits), count (32 bits).
///
/// Stamp and count change in one step, so a late count can't land in a bucket that was taken over.
#[derive(Clone, Copy)]
struct Cell(u64);

const TICK_BITS: u32 = 28;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;
/// A count that comes later than this many ticks is no longer told from one of the next lap of all ticks. A cell
/// left idle for a lap less this much (a month at the shortest tick) refuses counts until the lap is full.
const LATEST: u64 = 64;
const GENERATION_BITS: u32 = 4;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

impl Cell {
    fn new(generation: u64, tick: u64, count: u64) -> Self {
        Self((generation & GENERATION_MASK) << 60 | (tick & TICK_MASK) << 32 | count)
    }
    fn generation(self) -> u64 {
        self.0 >> 60
    }
    fn tick(self) -> u64 {
        self.0 >> 32 & TICK_MASK
    }
    fn count(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    /// The cell with `amount` more at this stamp; none if the cell already belongs to a later one.
    fn add(self, generation: u64, tick: u64, amount: u64) -> Option<Self> {
        let mine = Self::new(generation, tick, 0);
        if self.0 >> 32 == mine.0 >> 32 {
            return Some(Self(
                mine.0 | (self.count() + amount).min(u64::from(u32::MAX)),
            ));
        }
        let taken_over = self.count() > 0
            && (is_newer(self.generation(), mine.generation(), GENERATION_BITS, 8)
                || self.generation() == mine.generation()
                    && is_newer(self.tick(), mine.tick(), TICK_BITS, LATEST));
        (!taken_over).then_some(Self(mine.0 | amount.min(u64::from(u32::MAX))))
    }

    fn count_at(self, generation: u64, tick: u64) -> u64 {
        let age = tick.wrapping_sub(self.tick()) & TICK_MASK;
        if self.generation() == generation & GENERATION_MASK && age < BUCKETS {
            self.count()
        } else {
            0
        }
    }
}

impl<const K: usize> TimeWindow<K> {
    /// An empty window.
    pub fn new() -> Self {
        Self {
            stripes: (0..STRIPES)
                .map(|_| {
                    Padded(std::array::from_fn(|_| {
                        std::array::from_fn(|_| AtomicU64::new(0))
                    }))
                })
                .collect(),
        }
    }

    /// Counts one `kind` in `tick`.
    pub fn add(&self, generation: u64, tick: u64, kind: usize) {
        self.add_many(generation, tick, kind, 1);
    }

    /// Counts `amount` of `kind` in `tick`.
    pub fn add_many(&self, generation: u64, tick: u64, kind: usize, amount: u64) {
        let cell = &self.stripes[stripe::current()].0[slot(tick)][kind];
        let mut seen = cell.load(Ordering::Relaxed);
        while let Some(next) = Cell(seen).add(generation, tick, amount) {
            match cell.compare_exchange_weak(seen, next.0, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// The counts of the ten ticks that end with `tick`.
    pub fn sum(&self, generation: u64, tick: u64) -> [u64; K] {
        let mut sums = [0; K];
        for cells in self.stripes.iter().flat_map(|stripe| &stripe.0) {
            for (sum, cell) in sums.iter_mut().zip(cells) {
                *sum += Cell(cell.load(Ordering::SeqCst)).count_at(generation, tick);
            }
        }
        sums
    }

    /// Empties every cell, before a generation begins whose number was used before.
    pub fn clear(&self) {
        for cell in self.stripes.iter().flat_map(|stripe| &stripe.0).flatten() {
            cell.store(0, Ordering::SeqCst);
        }
    }
}

impl<const K: usize> Default for TimeWindow<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// CALL-6: the window equals a list of all calls of which the last ten ticks are counted.
        #[test]
        fn equals_a_naive_window(
            start in prop_oneof![Just(0u64), Just(TICK_MASK - 5), any::<u64>().prop_map(|n| n >> 8)],
            steps in prop::collection::vec((0u64..14, 0usize..3, 1u64..50), 1..200),
        ) {
            let window = TimeWindow::<3>::new();
            let (mut all, mut tick) = (Vec::new(), start);
            for (step, kind, amount) in steps {
                tick += step;
                window.add_many(3, tick, kind, amount);
                all.push((tick, kind, amount));
                let mut expected = [0; 3];
                for &(at, kind, amount) in &all {
                    if tick - at < BUCKETS {
                        expected[kind] += amount;
                    }
                }
                prop_assert_eq!(window.sum(3, tick), expected);
            }
        }
    }

    /// CALL-7: a count of an older generation or an overtaken tick changes nothing.
    #[test]
    fn late_counts_change_nothing() {
        let window = TimeWindow::<1>::new();
        window.add(5, 100, 0);
        window.add(4, 100, 0);
        window.add(5, 100 - SLOTS as u64, 0);
        assert_eq!(window.sum(5, 100), [1]);
        window.add(6, 100, 0);
        assert_eq!(window.sum(6, 100), [1]);
    }

    #[test]
    fn a_cell_is_full_rather_than_wrapped() {
        let window = TimeWindow::<1>::new();
        window.add_many(0, 7, 0, u64::from(u32::MAX));
        window.add(0, 7, 0);
        assert_eq!(window.sum(0, 7), [u64::from(u32::MAX)]);
    }

    #[test]
    fn an_idle_cell_is_taken_over_after_a_long_time() {
        let window = TimeWindow::<1>::new();
        window.add(0, 3, 0);
        let lap = SLOTS as u64;
        let much_later = 3 + (TICK_MASK - LATEST) / lap * lap;
        window.add(0, much_later, 0);
        assert_eq!(window.sum(0, much_later), [1]);
    }
}
