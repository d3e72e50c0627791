//! The names that a source has told, from one session to the next.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Version;

/// Where a source keeps names between sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    told: Version,
    proved: u64,
    all: HashMap<String, u64>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names there are as of a version, each with the number of its last change.
///
/// What is gone without a trace is found by them: a source that says how many there are, or which, is held against them.
/// A session that ends before it has told what it knows leaves them as of what it told.
#[derive(Debug)]
pub(crate) struct Names {
    all: HashMap<String, u64>,
    /// None while a snapshot is told.
    told: Option<Version>,
    proved: u64,
    /// What was known before of names that have changed since, in the order of that.
    before: Vec<(String, Option<u64>)>,
    memory: Memory,
}

impl Names {
    /// Those of the last session, if it told just this version; otherwise none yet.
    pub(crate) fn of(memory: &Memory, told: Option<Version>) -> Self {
        let kept = memory.lock().take();
        let kept = kept.filter(|kept| Some(kept.told) == told);
        let (told, proved, all) = kept.map_or_else(Default::default, |kept| {
            (Some(kept.told), kept.proved, kept.all)
        });
        Self {
            all,
            told,
            proved,
            before: Vec::new(),
            memory: memory.clone(),
        }
    }

    /// Of which version they are; none while there is none.
    pub(crate) fn told(&self) -> Option<Version> {
        self.told
    }

    /// Up to here nothing is missing, by an answer.
    #[cfg(feature = "etcd")]
    pub(crate) fn proved(&self) -> u64 {
        self.proved
    }

    /// What is known is told now.
    pub(crate) fn tell(&mut self, version: Version) {
        self.before.clear();
        self.told = Some(version);
    }

    /// It is told, and nothing is missing.
    pub(crate) fn prove(&mut self, version: Version) {
        self.proved = version.number;
        self.tell(version);
    }

    pub(crate) fn len(&self) -> u64 {
        self.all.len() as u64
    }

    /// True unless this very change was known.
    pub(crate) fn insert(&mut self, name: &str, number: u64) -> bool {
        let before = self.all.get(name).copied();
        let is_new = before != Some(number);
        if is_new {
            self.all.insert(name.to_owned(), number);
            self.note(name, before);
        }
        is_new
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let before = self.all.remove(name);
        self.note(name, before);
    }

    /// For a snapshot.
    pub(crate) fn clear(&mut self) {
        self.told = None;
        self.before.clear();
        self.all.clear();
    }

    /// Takes those away that are not among these.
    pub(crate) fn retain(&mut self, among: &HashSet<String>) -> Vec<String> {
        let gone = self.all.keys().filter(|name| !among.contains(*name));
        let gone: Vec<_> = gone.cloned().collect();
        for name in &gone {
            self.remove(name);
        }
        gone
    }

    fn note(&mut self, name: &str, before: Option<u64>) {
        if self.told.is_some() {
            self.before.push((name.to_owned(), before));
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        if let Some(told) = self.told {
            while let Some((name, before)) = self.before.pop() {
                match before {
                    Some(number) => self.all.insert(name, number),
                    None => self.all.remove(&name),
                };
            }
            *self.memory.lock() = Some(Kept {
                told,
                proved: self.proved,
                all: std::mem::take(&mut self.all),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REP-3: names last from one session to the next only as of what was told.
    #[test]
    fn names_last_as_of_what_was_told() {
        let memory = Memory::default();
        let version = Version::new(1, 7);
        let mut names = Names::of(&memory, None);
        assert!(names.insert("a", 6) && !names.insert("a", 6));
        names.prove(version.at(6));
        names.tell(version);
        drop(names);
        let mut names = Names::of(&memory, Some(version));
        assert_eq!((names.told(), names.len()), (Some(version), 1));
        assert_eq!(names.proved(), 6);
        // Known, and not told.
        assert!(names.insert("b", 8) && names.insert("a", 9) && names.insert("b", 10));
        names.remove("a");
        assert_eq!(names.retain(&HashSet::new()), ["b"]);
        drop(names);
        let mut names = Names::of(&memory, Some(version));
        assert_eq!((names.told(), names.len()), (Some(version), 1));
        assert!(!names.insert("a", 6));
        // A snapshot that was not told to its end.
        names.clear();
        names.insert("a", 6);
        drop(names);
        assert_eq!(Names::of(&memory, Some(version)).told(), None);

        let mut names = Names::of(&memory, None);
        names.tell(version);
        drop(names);
        let later = Some(version.at(8));
        assert_eq!(Names::of(&memory, later).told(), None);
    }
}
