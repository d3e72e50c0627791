//! Things as this process's last commands have left them, so that the next command on one need not read it.

use std::collections::HashMap;
use std::mem::{replace, take};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::load::Loaded;

/// Between the events of one conversation, and short against what it takes to restore a store from a backup: what is
/// kept is told from what is there by its version, which may come again then.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// As many in each half.
const KEPT: usize = 500;

/// Each is here until it was left alone for five to ten seconds, or until a thousand others have come.
#[derive(Debug)]
pub(super) struct Recent<S>(Mutex<Halves<S>>);

#[derive(Debug)]
struct Halves<S> {
    young: HashMap<String, Loaded<S>>,
    old: HashMap<String, Loaded<S>>,
    since: Instant,
}

impl<S> Recent<S> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Halves {
            young: HashMap::new(),
            old: HashMap::new(),
            since: Instant::now(),
        }))
    }

    /// Who takes it puts it back when it is what the store has.
    pub(super) fn take(&self, stream: &str) -> Option<Loaded<S>> {
        let mut halves = self.lock();
        let gone = halves.turn();
        let young = halves.young.remove(stream);
        let old = halves.old.remove(stream);
        // States are the user's: they are dropped outside of the lock.
        drop(halves);
        drop(gone);
        young.or(old)
    }

    pub(super) fn put(&self, stream: &str, loaded: Loaded<S>) {
        let mut halves = self.lock();
        let gone = halves.turn();
        let other = halves.young.get(stream);
        // Of two commands at once the one that was later in the store may be here first.
        let is_later = other.is_none_or(|other| other.version <= loaded.version);
        let replaced = if is_later {
            halves.young.insert(stream.to_owned(), loaded)
        } else {
            Some(loaded)
        };
        drop(halves);
        drop((gone, replaced));
    }

    /// Whoever answers next may be another store.
    pub(super) fn clear(&self) {
        let mut halves = self.lock();
        let gone = (take(&mut halves.young), take(&mut halves.old));
        drop(halves);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, Halves<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Halves<S> {
    /// Makes the young ones old where it is time, and returns what is kept no more.
    fn turn(&mut self) -> [HashMap<String, Loaded<S>>; 2] {
        let age = self.since.elapsed();
        let mut gone = [HashMap::new(), HashMap::new()];
        if age >= KEPT_FOR * 2 {
            gone[0] = take(&mut self.young);
        }
        if age >= KEPT_FOR || self.young.len() >= KEPT {
            gone[1] = replace(&mut self.old, take(&mut self.young));
            self.since = Instant::now();
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use backstay_store::{Position, Version};
    use tokio::time::advance;

    use super::*;

    fn loaded(version: u64) -> Loaded<u64> {
        Loaded {
            state: version,
            version: Version::new(version),
            position: Position::new(version),
        }
    }

    /// What nobody uses goes, after its time and before there are too many.
    #[tokio::test(start_paused = true)]
    async fn it_is_bounded() {
        let recent = Recent::new();
        recent.put("a", loaded(1));
        advance(Duration::from_millis(9_999)).await;
        assert_eq!(recent.take("a").expect("it is kept").state, 1);
        recent.put("a", loaded(1));
        advance(KEPT_FOR * 2).await;
        assert!(recent.take("a").is_none());
        for number in 0..10_000 {
            recent.put(&number.to_string(), loaded(1));
        }
        let halves = recent.lock();
        assert!(halves.young.len() + halves.old.len() <= 2 * KEPT);
    }

    /// The later of two stays; what was taken is not there.
    #[tokio::test(start_paused = true)]
    async fn the_later_stays() {
        let recent = Recent::new();
        recent.put("a", loaded(2));
        recent.put("a", loaded(1));
        assert_eq!(recent.take("a").expect("it is kept").state, 2);
        assert!(recent.take("a").is_none());
        recent.put("a", loaded(3));
        recent.clear();
        assert!(recent.take("a").is_none());
    }
}
