use super::is_newer;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The last `N` calls, as a ring: the newest replaces the oldest.
///
/// Counting claims a position, swaps the slot and applies the difference to the counters, without a lock and in
/// O(1). Threads that count at the same time each apply their own difference, so the counters equal the ring's
/// content whenever nobody is between those steps.
#[derive(Debug)]
pub struct CountWindow {
    /// Generation (16 bits) and next position (48 bits).
    head: AtomicU64,
    /// Generation (16 bits) and one counter of 12 bits for each of the four flags, each `BIAS` more.
    counters: AtomicU64,
    /// Generation (16 bits), position (44 bits), flags (4 bits).
    slots: Box<[AtomicU64]>,
}

const GENERATION_MASK: u64 = 0xFFFF;
const POSITION_BITS: u32 = 44;
const POSITION_MASK: u64 = (1 << POSITION_BITS) - 1;
/// Most calls a count window can hold; its counters have 12 bits.
pub(crate) const MAX_CALLS: u32 = 4_000;

/// What a counter shows for zero.
///
/// A thread that was stopped between its slot and the counters can be overtaken by a whole lap, and then its flags
/// are taken away before they were added. The bias keeps the fields from borrowing from each other meanwhile,
/// for 47 such threads at once; with more, readers see a wrong count until those have caught up.
const BIAS: u64 = 48;
const NO_COUNTS: u64 = BIAS * (1 | 1 << 12 | 1 << 24 | 1 << 36);
const COUNTS_MASK: u64 = (1 << 48) - 1;

impl CountWindow {
    /// A ring of `calls`, clamped to 1..=4000.
    pub fn new(calls: u32) -> Self {
        Self {
            head: AtomicU64::new(0),
            counters: AtomicU64::new(NO_COUNTS),
            slots: (0..calls.clamp(1, MAX_CALLS))
                .map(|_| AtomicU64::new(0))
                .collect(),
        }
    }

    /// How many calls the ring holds when full.
    pub fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Counts one call with its `flags` (four bits, their meaning is the caller's).
    pub fn add(&self, generation: u64, flags: u64) {
        let Some(position) = self.claim(generation & GENERATION_MASK) else {
            return;
        };
        #[expect(clippy::cast_possible_truncation, reason = "below the length")]
        let slot = &self.slots[(position % self.capacity()) as usize];
        let mine = (generation & GENERATION_MASK) << 48 | position << 4 | flags & 0xF;
        let mut seen = slot.load(Ordering::Relaxed);
        loop {
            let same_generation = seen >> 48 == mine >> 48;
            let overtaken = same_generation
                && is_newer(seen >> 4 & POSITION_MASK, position, POSITION_BITS, 1 << 43)
                || is_newer(seen >> 48, mine >> 48, 16, 1 << 15);
            if overtaken {
                return;
            }
            match slot.compare_exchange_weak(seen, mine, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    let old = if same_generation { seen & 0xF } else { 0 };
                    return self.apply(generation & GENERATION_MASK, old, flags & 0xF);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Calls in the ring, and how many of them carry each flag.
    pub fn sum(&self, generation: u64) -> (u64, [u64; 4]) {
        let head = self.head.load(Ordering::SeqCst);
        if head >> 48 != generation & GENERATION_MASK {
            return (0, [0; 4]);
        }
        let total = (head & POSITION_MASK).min(self.capacity());
        let counters = self.counters.load(Ordering::SeqCst);
        let counts = std::array::from_fn(|flag| {
            if counters >> 48 == head >> 48 {
                (counters >> (flag * 12) & 0xFFF)
                    .saturating_sub(BIAS)
                    .min(total)
            } else {
                0
            }
        });
        (total, counts)
    }

    /// The next position of this generation; none if a later generation has begun.
    fn claim(&self, generation: u64) -> Option<u64> {
        let mut seen = self.head.load(Ordering::Relaxed);
        loop {
            let (next, position) = if seen >> 48 == generation {
                let position = seen & POSITION_MASK;
                // After 2^44 calls in one generation, five months at a million a second, the ring goes on as a
                // full one.
                let next = if position == POSITION_MASK {
                    self.capacity()
                } else {
                    position + 1
                };
                (next, position)
            } else if is_newer(seen >> 48, generation, 16, 1 << 15) {
                return None;
            } else {
                (1, 0)
            };
            match self.head.compare_exchange_weak(
                seen,
                generation << 48 | next,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(position),
                Err(now) => seen = now,
            }
        }
    }

    fn apply(&self, generation: u64, old: u64, new: u64) {
        let mut seen = self.counters.load(Ordering::Relaxed);
        loop {
            let counts = if seen >> 48 == generation {
                seen & COUNTS_MASK
            } else if is_newer(seen >> 48, generation, 16, 1 << 15) {
                return;
            } else {
                NO_COUNTS
            };
            // The sum of all differences is exact even where one of them wraps.
            let counts = counts.wrapping_add(spread(new)).wrapping_sub(spread(old)) & COUNTS_MASK;
            let next = generation << 48 | counts;
            match self.counters.compare_exchange_weak(
                seen,
                next,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

/// Each of four flags as a one in its own counter.
fn spread(flags: u64) -> u64 {
    (0..4).fold(0, |ones, flag| ones | (flags >> flag & 1) << (flag * 12))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// CALL-6: the ring equals the last `n` entries of a list of all calls.
        #[test]
        fn equals_a_naive_ring(
            size in 1u32..40,
            calls in prop::collection::vec((0u64..16, prop::bool::weighted(0.02)), 1..300),
        ) {
            let window = CountWindow::new(size);
            let (mut all, mut generation) = (Vec::new(), 0u64);
            for (flags, restart) in calls {
                if restart {
                    generation += 1;
                    all.clear();
                }
                window.add(generation, flags);
                all.push(flags);
                let last = &all[all.len().saturating_sub(size as usize)..];
                let expected = std::array::from_fn(|flag| {
                    last.iter().filter(|flags| **flags >> flag & 1 == 1).count() as u64
                });
                prop_assert_eq!(window.sum(generation), (last.len() as u64, expected));
            }
        }
    }

    /// CALL-6: however many threads are a lap late, the counters are right once they have caught up.
    #[test]
    fn counters_recover_from_late_threads() {
        let window = CountWindow::new(10);
        window.add(3, 0b1000);
        for _ in 0..200 {
            window.apply(3, 0b1001, 0);
        }
        for _ in 0..200 {
            window.apply(3, 0, 0b1001);
        }
        assert_eq!(window.sum(3), (1, [0, 0, 0, 1]));
    }

    /// CALL-6: the ring goes on where its positions begin anew.
    #[test]
    fn positions_begin_anew() {
        let window = CountWindow::new(4);
        let last = POSITION_MASK - 5;
        window.head.store(last, Ordering::SeqCst);
        for (offset, slot) in window.slots.iter().enumerate() {
            slot.store((last - 4 + offset as u64) << 4, Ordering::SeqCst);
        }
        for _ in 0..40 {
            window.add(0, 1);
        }
        assert_eq!(window.sum(0), (4, [4, 0, 0, 0]));
        for _ in 0..4 {
            window.add(0, 0);
        }
        assert_eq!(window.sum(0), (4, [0; 4]));
    }

    /// CALL-7: a call of an older generation changes nothing.
    #[test]
    fn late_calls_change_nothing() {
        let window = CountWindow::new(10);
        window.add(2, 1);
        window.add(1, 1);
        assert_eq!(window.sum(2), (1, [1, 0, 0, 0]));
        assert_eq!(window.sum(1), (0, [0; 4]));
    }
}
