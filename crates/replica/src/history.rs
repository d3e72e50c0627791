//! Checks what a copy or a cache said against what its source was.
//!
//! Record what the source was and what reads said; [`History::check`] names every read that can't be true. It needs no
//! source of a certain kind: a test writes down what it does.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use backstay_core::Moment;

use crate::Version;

/// What a source was, and what was read.
#[derive(Debug)]
pub struct History<K, V> {
    /// Each key's values, each until the next.
    was: HashMap<K, Vec<Was<V>>>,
    reads: Vec<Read<K, V>>,
    invalidations: HashMap<K, Vec<Invalidation>>,
}

/// A value, and between which moments it became the source's.
#[derive(Debug)]
struct Was<V> {
    began: Moment,
    done: Moment,
    value: Option<V>,
}

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<K, V> {
    /// Reads of one session follow each other.
    pub session: u32,
    /// Which key.
    pub key: K,
    /// Before it was asked.
    pub began: Moment,
    /// After it was answered.
    pub ended: Moment,
    /// The value it said.
    pub value: Option<V>,
    /// The version it said; none for a cache, which knows of none.
    pub version: Option<Version>,
    /// The age it said.
    pub age: Duration,
}

#[derive(Debug)]
struct Invalidation {
    acknowledged: Moment,
    /// When the latest of this and all before it began.
    began: Moment,
}

/// A read that can't be true.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation<K, V> {
    /// The source did not have this value at any moment within the age.
    Age(Read<K, V>),
    /// An earlier read of the session saw a later version, or a later value in the same history.
    WentBack {
        /// What came first.
        first: Read<K, V>,
        /// What came then.
        then: Read<K, V>,
    },
    /// The value was no more the source's when an invalidation began that was acknowledged before the read.
    Invalidated(Read<K, V>),
}

impl<K, V> Default for History<K, V> {
    fn default() -> Self {
        Self {
            was: HashMap::new(),
            reads: Vec::new(),
            invalidations: HashMap::new(),
        }
    }
}

impl<K, V> History<K, V>
where
    K: Clone + Eq + Hash + Debug,
    V: Clone + PartialEq + Debug,
{
    /// Nothing yet: no key was ever there.
    pub fn new() -> Self {
        Self::default()
    }

    /// From this moment on the source has this value. In the order of time for each key.
    pub fn is(&mut self, key: K, value: Option<V>, at: Moment) {
        self.becomes(key, value, at, at);
    }

    /// From some moment between these two on the source has this value: who writes knows only when he asked, and when it was
    /// acknowledged. One write of a key after the other.
    pub fn becomes(&mut self, key: K, value: Option<V>, began: Moment, done: Moment) {
        let was = self.was.entry(key);
        let was = was.or_insert_with(|| vec![Was::nothing()]);
        was.push(Was { began, done, value });
    }

    /// A read was answered.
    pub fn read(&mut self, read: Read<K, V>) {
        self.reads.push(read);
    }

    /// An invalidation was acknowledged. In the order of that for each key.
    pub fn invalidated(&mut self, key: K, began: Moment, acknowledged: Moment) {
        let all = self.invalidations.entry(key).or_default();
        let began = all.last().map_or(began, |last| last.began.max(began));
        all.push(Invalidation {
            acknowledged,
            began,
        });
    }

    /// How many reads were recorded: none of them proves nothing.
    pub fn reads(&self) -> usize {
        self.reads.len()
    }

    /// Every read that can't be true.
    pub fn check(&self) -> Vec<Violation<K, V>> {
        let mut found = Vec::new();
        let mut last: HashMap<u32, &Read<K, V>> = HashMap::new();
        let mut last_of_key: HashMap<_, (&Read<K, V>, usize)> = HashMap::new();
        for read in &self.reads {
            let since = read.began.minus(read.age);
            let places = self.places(read, since);
            let (Some(earliest), Some(latest)) = (places.first(), places.last()) else {
                found.push(Violation::Age(read.clone()));
                continue;
            };
            if self.is_invalidated(read) {
                found.push(Violation::Invalidated(read.clone()));
            }
            let went_back = |first: &Read<K, V>| Violation::WentBack {
                first: first.clone(),
                then: read.clone(),
            };
            if let Some(first) = last.insert(read.session, read)
                && read.version < first.version
            {
                found.push(went_back(first));
            }
            let of_key = last_of_key.insert((read.session, &read.key), (read, *earliest));
            if let Some((first, earliest)) = of_key
                && epoch(first) == epoch(read)
                && *latest < earliest
            {
                found.push(went_back(first));
            }
        }
        found
    }

    /// Where in the key's history the read may have looked, from a moment on.
    fn places(&self, read: &Read<K, V>, since: Moment) -> Vec<usize> {
        let nothing = [Was::nothing()];
        let was = self.was.get(&read.key).map_or(&nothing[..], Vec::as_slice);
        // Each value is there until the next one is.
        let first = was
            .partition_point(|was| was.done < since)
            .saturating_sub(1);
        let end = was.partition_point(|was| was.began <= read.ended);
        let places = was.iter().enumerate().take(end).skip(first);
        places
            .filter(|(_, was)| was.value == read.value)
            .map(|(place, _)| place)
            .collect()
    }

    fn is_invalidated(&self, read: &Read<K, V>) -> bool {
        let all = self
            .invalidations
            .get(&read.key)
            .map_or(&[][..], Vec::as_slice);
        let before = all.partition_point(|one| one.acknowledged <= read.began);
        let latest = all[..before].last();
        latest.is_some_and(|one| self.places(read, one.began).is_empty())
    }
}

impl<V> Was<V> {
    /// Before all is that there was nothing.
    fn nothing() -> Self {
        Self {
            began: Moment::default(),
            done: Moment::default(),
            value: None,
        }
    }
}

fn epoch<K, V>(read: &Read<K, V>) -> Option<u64> {
    read.version.map(|version| version.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Moment = Moment::from_nanos;
    const NS: fn(u64) -> Duration = Duration::from_nanos;

    /// `a` was nothing, 1 from 10 on and 2 from 20 on.
    fn history() -> History<&'static str, u32> {
        let mut history = History::new();
        history.is("a", Some(1), AT(10));
        history.is("a", Some(2), AT(20));
        history
    }

    fn read(at: u64, value: Option<u32>, age: u64) -> Read<&'static str, u32> {
        Read {
            session: 1,
            key: "a",
            began: AT(at),
            ended: AT(at),
            value,
            version: None,
            age: NS(age),
        }
    }

    fn found(reads: &[Read<&'static str, u32>]) -> usize {
        let mut history = history();
        for one in reads {
            history.read(one.clone());
        }
        history.check().len()
    }

    /// REP-1: the checker takes an age that is true to the nanosecond, and no lower one.
    #[test]
    fn an_age_is_held_against_the_source() {
        assert_eq!(found(&[read(25, Some(2), 0)]), 0);
        assert_eq!(found(&[read(25, Some(1), 5)]), 0);
        assert_eq!(found(&[read(25, Some(1), 4)]), 1);
        assert_eq!(found(&[read(25, None, 15)]), 0);
        assert_eq!(found(&[read(25, None, 14)]), 1);
        assert_eq!(found(&[read(15, Some(2), 1)]), 1);
    }

    /// REP-1: while a write is on its way the source may have either value, and after it only the new one.
    #[test]
    fn a_write_takes_time() {
        let found = |at, value, age| {
            let mut history = History::new();
            history.is("a", Some(1), AT(10));
            history.becomes("a", Some(2), AT(20), AT(30));
            history.read(read(at, value, age));
            history.check().len()
        };
        assert_eq!((found(19, Some(2), 0), found(20, Some(2), 0)), (1, 0));
        assert_eq!((found(30, Some(1), 0), found(31, Some(1), 0)), (0, 1));
        assert_eq!(found(35, Some(1), 5), 0);
    }

    /// REP-3: a session that sees an older value after a newer one is found, also where both ages are true.
    #[test]
    fn going_back_is_found() {
        assert_eq!(found(&[read(25, Some(1), 9), read(25, Some(2), 0)]), 0);
        assert_eq!(found(&[read(25, Some(2), 0), read(25, Some(1), 9)]), 1);
        let versioned = |number, value| Read {
            version: Some(Version::new(1, number)),
            ..read(25, value, 9)
        };
        assert_eq!(found(&[versioned(7, Some(2)), versioned(6, Some(2))]), 1);
    }

    /// REP-5: what was overwritten before an acknowledged invalidation began is not served after it.
    #[test]
    fn what_was_invalidated_is_found() {
        for (began, violations) in [(19, 0), (20, 0), (21, 1)] {
            let mut history = history();
            history.invalidated("a", AT(began), AT(22));
            history.read(read(25, Some(1), 9));
            assert_eq!(history.check().len(), violations, "{began}");
        }
    }
}
