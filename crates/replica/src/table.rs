use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use backstay_core::Moment;
use foldhash::fast::RandomState;

use crate::clock::{Glance, at_most};
use crate::follow::Broken;
use crate::{Change, Clock, Origin, Reading, Version};

/// One epoch's copy, read without a lock while one task writes.
///
/// A reader takes the proof first, then the version, then the value; the writer goes the other way. So what is read is
/// at least as new as the version, and that at least as new as its proof.
pub(crate) struct Table<K, V> {
    entries: papaya::HashMap<K, Slot<V>, RandomState>,
    epoch: u64,
    number: AtomicU64,
    proof: Proof,
    /// False while all that is known came from a file.
    is_heard: AtomicBool,
}

struct Slot<V> {
    number: u64,
    value: Arc<V>,
}

/// The moment of one proof by each clock. Of two proofs that are half written the older counts.
struct Proof {
    exact: AtomicU64,
    steady: AtomicU64,
    wall: AtomicU64,
}

impl Proof {
    fn new(clock: &Clock, asked: Moment) -> Self {
        let glance = clock.glance_at(asked);
        Self {
            exact: AtomicU64::new(asked.as_nanos()),
            steady: AtomicU64::new(glance.steady),
            wall: AtomicU64::new(glance.wall),
        }
    }

    /// Only one task writes.
    fn renew(&self, clock: &Clock, asked: Moment) {
        if asked.as_nanos() <= self.exact.load(Acquire) {
            return;
        }
        let glance = clock.glance_at(asked);
        self.exact.store(asked.as_nanos(), Release);
        self.steady.store(glance.steady, Release);
        self.wall.store(glance.wall, Release);
    }

    fn exact(&self) -> Moment {
        Moment::from_nanos(self.exact.load(Acquire))
    }

    fn glance(&self) -> Glance {
        Glance {
            steady: self.steady.load(Acquire),
            wall: self.wall.load(Acquire),
        }
    }
}

impl<K: Hash + Eq, V> Table<K, V> {
    pub(crate) fn new(version: Version, asked: Moment, origin: Origin, clock: &Clock) -> Self {
        Self {
            entries: papaya::HashMap::with_hasher(RandomState::default()),
            epoch: version.epoch,
            number: AtomicU64::new(version.number),
            proof: Proof::new(clock, asked),
            is_heard: AtomicBool::new(origin == Origin::Source),
        }
    }

    pub(crate) fn version(&self) -> Version {
        Version::new(self.epoch, self.number.load(Acquire))
    }

    pub(crate) fn proven(&self) -> Moment {
        self.proof.exact()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn age(&self, clock: &Clock) -> Duration {
        clock.since(self.proof.exact(), self.proof.glance())
    }

    pub(crate) fn read<Q>(&self, key: &Q, clock: &Clock) -> Reading<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let proven = self.proof.glance();
        self.read_with(key, || at_most(clock.glance(), proven, clock.late()))
    }

    /// As [`read`](Self::read), by the exact clock.
    pub(crate) fn read_exactly<Q>(&self, key: &Q, clock: &Clock) -> Reading<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (exact, proven) = (self.proof.exact(), self.proof.glance());
        self.read_with(key, || clock.since(exact, proven))
    }

    #[inline]
    fn read_with<Q>(&self, key: &Q, age: impl FnOnce() -> Duration) -> Reading<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let version = self.version();
        let value = self
            .entries
            .pin()
            .get(key)
            .map(|slot| Arc::clone(&slot.value));
        Reading {
            value,
            version,
            age: age(),
            source: self.origin(),
        }
    }

    /// Calls for each entry, in no order, with its number.
    pub(crate) fn each(&self, mut take: impl FnMut(&K, u64, &Arc<V>)) {
        for (key, slot) in &self.entries.pin() {
            take(key, slot.number, &slot.value);
        }
    }

    /// Those whose number is higher than `above`. Only by the task that follows.
    pub(crate) fn apply(
        &self,
        upto: Version,
        above: u64,
        changes: Vec<Change<K, V>>,
        limit: usize,
    ) -> Result<(), Broken> {
        let entries = self.entries.pin();
        for Change { key, number, value } in changes {
            let is_older = |slot: &Slot<V>| number < slot.number;
            if number <= above || entries.get(&key).is_some_and(is_older) {
                continue;
            }
            match value {
                Some(value) => {
                    if entries.len() >= limit && !entries.contains_key(&key) {
                        return Err(Broken::TooMany { limit });
                    }
                    let value = Arc::new(value);
                    entries.insert(key, Slot { number, value });
                }
                None => drop(entries.remove(&key)),
            }
        }
        self.number.store(upto.number, Release);
        Ok(())
    }

    pub(crate) fn prove(&self, clock: &Clock, asked: Moment) {
        self.proof.renew(clock, asked);
        self.is_heard.store(true, Release);
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.is_heard.load(Acquire)
    }

    fn origin(&self) -> Origin {
        if self.is_heard() {
            Origin::Source
        } else {
            Origin::Disk
        }
    }
}

/// A snapshot while it is told; nobody reads it yet.
pub(crate) struct Loading<K, V> {
    /// A key that was deleted meanwhile is there without a value, so that an older page does not bring it back.
    entries: HashMap<K, (u64, Option<Arc<V>>), RandomState>,
    values: usize,
    /// What has not changed since is shared with it, so that two copies do not take twice the room.
    before: Option<Arc<Table<K, V>>>,
}

impl<K, V> Default for Loading<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            values: 0,
            before: None,
        }
    }
}

impl<K: Hash + Eq, V> Loading<K, V> {
    pub(crate) fn beside(before: Option<Arc<Table<K, V>>>, version: Version) -> Self {
        Self {
            before: before.filter(|table| table.epoch == version.epoch),
            ..Self::default()
        }
    }

    fn held(&self, key: &K, number: u64) -> Option<Arc<V>> {
        let entries = self.before.as_ref()?.entries.pin();
        let slot = entries.get(key).filter(|slot| slot.number == number)?;
        Some(Arc::clone(&slot.value))
    }

    pub(crate) fn page(&mut self, page: Vec<Change<K, V>>, limit: usize) -> Result<(), Broken> {
        for Change { key, number, value } in page {
            let value =
                value.map(|value| self.held(&key, number).unwrap_or_else(|| Arc::new(value)));
            let is_value = usize::from(value.is_some());
            if let Some((known, held)) = self.entries.get_mut(&key) {
                if *known <= number {
                    self.values = self.values + is_value - usize::from(held.is_some());
                    (*known, *held) = (number, value);
                }
            } else {
                self.values += is_value;
                self.entries.insert(key, (number, value));
            }
            // Twice as many with those that were deleted meanwhile.
            if self.values > limit || self.entries.len() > limit.saturating_mul(2) {
                return Err(Broken::TooMany { limit });
            }
        }
        Ok(())
    }

    /// The copy.
    pub(crate) fn complete(
        self,
        version: Version,
        asked: Moment,
        origin: Origin,
        clock: &Clock,
    ) -> Table<K, V> {
        let table = Table::new(version, asked, origin, clock);
        let entries = table.entries.pin();
        for (key, (number, value)) in self.entries {
            if let Some(value) = value {
                entries.insert(key, Slot { number, value });
            }
        }
        drop(entries);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &'static str, number: u64, value: Option<u32>) -> Change<&'static str, u32> {
        Change { key, number, value }
    }

    fn copy(pages: Vec<Vec<Change<&'static str, u32>>>) -> Table<&'static str, u32> {
        let mut loading = Loading::default();
        for page in pages {
            loading.page(page, 10).expect("few");
        }
        let clock = Clock::machine();
        let version = Version::new(1, 9);
        loading.complete(version, clock.now(), Origin::Source, &clock)
    }

    fn value(table: &Table<&'static str, u32>, key: &'static str) -> Option<u32> {
        let reading = table.read(key, &Clock::machine());
        reading.value.as_deref().copied()
    }

    /// REP-3: in a snapshot the highest number of a key counts, a delete's too, in whatever order pages come.
    #[test]
    fn an_older_page_brings_nothing_back() {
        let newer = vec![change("a", 7, None), change("b", 8, Some(2))];
        let older = vec![change("a", 5, Some(1)), change("b", 6, Some(1))];
        for pages in [vec![newer.clone(), older.clone()], vec![older, newer]] {
            let table = copy(pages);
            assert_eq!((value(&table, "a"), value(&table, "b")), (None, Some(2)));
            assert_eq!(table.len(), 1);
        }
    }

    /// REP-3: a change that is older than what the copy has of its key is passed over.
    #[test]
    fn an_older_change_is_passed_over() {
        let table = copy(vec![vec![change("a", 7, Some(7))]]);
        let late = vec![change("a", 6, Some(6)), change("b", 10, Some(10))];
        table.apply(Version::new(1, 10), 0, late, 10).expect("few");
        assert_eq!(
            (value(&table, "a"), value(&table, "b")),
            (Some(7), Some(10))
        );
        assert_eq!(table.version(), Version::new(1, 10));
    }

    /// REP-3: what was applied before is passed over, also where the key was deleted since: it does not come back for a moment.
    #[test]
    fn what_overlaps_brings_nothing_back() {
        let table = copy(vec![vec![change("b", 8, Some(8))]]);
        let again = vec![change("a", 5, Some(5)), change("c", 10, Some(10))];
        table.apply(Version::new(1, 10), 9, again, 10).expect("few");
        assert_eq!((value(&table, "a"), value(&table, "c")), (None, Some(10)));
    }

    /// A new snapshot shares what has not changed, so that two copies do not take twice the room.
    #[test]
    fn what_has_not_changed_is_shared() {
        let clock = Clock::machine();
        let before = copy(vec![vec![change("a", 1, Some(1)), change("b", 2, Some(2))]]);
        let before = Arc::new(before);
        let next = |epoch| {
            let version = Version::new(epoch, 9);
            let mut loading = Loading::beside(Some(before.clone()), version);
            let page = vec![change("a", 1, Some(1)), change("b", 3, Some(3))];
            loading.page(page, 10).expect("few");
            let table = loading.complete(version, clock.now(), Origin::Source, &clock);
            let shared = |key| {
                let held = |table: &Table<&'static str, u32>| table.read(key, &clock).value;
                let (old, new) = (held(&before), held(&table));
                Arc::ptr_eq(&old.expect("it is there"), &new.expect("it is there"))
            };
            (shared("a"), shared("b"))
        };
        assert_eq!(next(1), (true, false));
        // In another history the same number is another change.
        assert_eq!(next(2), (false, false));
    }
}
