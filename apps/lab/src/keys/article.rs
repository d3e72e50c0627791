//! `EventuallyConsistentCache`.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// `syncInterval`, which is not printed.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct EventuallyConsistentCache {
    local: RwLock<HashMap<String, u32>>,
}

impl EventuallyConsistentCache {
    /// What `Start` leaves running.
    pub(super) async fn sync_periodically<F>(&self, get_all: impl Fn() -> F)
    where
        F: Future<Output = anyhow::Result<HashMap<String, u32>>>,
    {
        // Quirk: the first look is after the first tick, and nothing is there before.
        let mut ticker = interval_at(Instant::now() + EVERY, EVERY);
        // A Go ticker drops the ticks that nobody took.
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // Quirk: nothing stops it.
        loop {
            ticker.tick().await;
            // Quirk: no time limit. While there is no answer it stays what it was.
            let Ok(data) = get_all().await else {
                // Quirk: `return`, after a line in the log: who reads does not learn of it, however old it gets.
                continue;
            };
            // Quirk: the whole map, whatever was there.
            *self.local.write().unwrap_or_else(PoisonError::into_inner) = data;
        }
    }

    /// `Get`. Quirk: nothing says how old it is.
    pub(super) fn get(&self, key: &str) -> Option<u32> {
        let local = self.local.read().unwrap_or_else(PoisonError::into_inner);
        local.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::bail;
    use tokio::time::timeout;

    use super::*;

    /// What is there after each tick, given what `GetAll` answers.
    async fn played(answers: &[Option<&[u32]>]) -> Vec<Option<u32>> {
        let (tick, cache) = (Cell::new(0), EventuallyConsistentCache::default());
        let get_all = || {
            let answer = answers.get(tick.get()).copied();
            tick.set(tick.get() + 1);
            async move {
                match answer {
                    Some(Some(keys)) => {
                        Ok(keys.iter().map(|key| ("key".to_owned(), *key)).collect())
                    }
                    Some(None) => bail!("it can't be reached"),
                    None => std::future::pending().await,
                }
            }
        };
        let mut seen = vec![cache.get("key")];
        let mut syncs = Box::pin(cache.sync_periodically(get_all));
        for _ in 0..=answers.len() {
            // Half a tick later than it.
            let more = if seen.len() == 1 {
                EVERY / 2
            } else {
                Duration::ZERO
            };
            let _ = timeout(EVERY + more, &mut syncs).await;
            seen.push(cache.get("key"));
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_or_a_silence_leaves_it_as_it_was() {
        let (there, gone): (&[u32], &[u32]) = (&[7], &[]);
        assert_eq!(
            played(&[Some(there), Some(gone)]).await,
            [None, Some(7), None, None]
        );
        assert_eq!(
            played(&[Some(there), None, None]).await,
            [None, Some(7), Some(7), Some(7), Some(7)]
        );
    }
}
