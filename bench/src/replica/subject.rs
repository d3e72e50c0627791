//! Who is read: the same keys and values behind each.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use backstay::replica::{MaxAge, Replica, StoreSource};
use backstay::store::{Batch, MemoryStore};
use moka::sync::Cache;
use tokio::runtime::Runtime;

use crate::clock;

/// As many keys as a service keeps of another: more than a processor's nearest caches hold.
const KEYS: u32 = 10_000;

/// The subject whose target is judged.
pub(crate) const OURS: &str = "replica peek, with its age";
pub(crate) const MOKA: &str = "moka get, with a time to live";
pub(crate) const MAP: &str = "hash map behind a lock";

pub(crate) struct Subject {
    pub(crate) name: &'static str,
    time: Box<dyn Fn(u64, usize) -> Duration>,
}

impl Subject {
    fn new(name: &'static str, read: impl Fn(&str) -> bool + Sync + 'static) -> Self {
        let keys = order();
        let time = move |reads, threads| time(&keys, &read, reads, threads);
        Self {
            name,
            time: Box::new(time),
        }
    }

    /// Times so many reads in total, on several threads.
    pub(crate) fn time(&self, reads: u64, threads: usize) -> Duration {
        (self.time)(reads, threads)
    }
}

fn key(number: u32) -> String {
    format!("key-{number:05}")
}

/// All keys in an order that jumps about, the same for all subjects.
fn order() -> Vec<String> {
    // 7,919 has no divisor in common with their number.
    (0..KEYS).map(|at| key(at * 7_919 % KEYS)).collect()
}

pub(crate) fn all() -> Result<Vec<Subject>> {
    let runtime = Arc::new(Runtime::new().context("a runtime")?);
    let copy = runtime.block_on(copy())?;
    let (peeked, gotten) = (copy.clone(), copy);
    let kept = runtime.clone();
    let peek = move |key: &str| {
        let _ = &kept;
        peeked
            .peek(key)
            .is_ok_and(|reading| black_box(reading).value.is_some())
    };
    let get = move |key: &str| {
        let mut get = std::pin::pin!(gotten.get(key, MaxAge::secs(60)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // Young enough: ready at its first poll.
        match get.as_mut().poll(&mut context) {
            std::task::Poll::Ready(Ok(reading)) => black_box(reading).value.is_some(),
            _ => false,
        }
    };
    let cache = Cache::builder()
        .max_capacity(u64::from(KEYS) * 2)
        .time_to_live(Duration::from_hours(1))
        .build();
    let plain: Cache<String, Arc<u32>> = Cache::new(u64::from(KEYS) * 2);
    let mut map = HashMap::new();
    for number in 0..KEYS {
        cache.insert(key(number), Arc::new(number));
        plain.insert(key(number), Arc::new(number));
        map.insert(key(number), Arc::new(number));
    }
    cache.run_pending_tasks();
    plain.run_pending_tasks();
    let map = RwLock::new(map);
    let behind_lock = move |key: &str| {
        let map = map
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let value = map.get(key).cloned();
        black_box(value).is_some()
    };
    Ok(vec![
        Subject::new(OURS, peek),
        Subject::new("replica get, with a bound", get),
        Subject::new(MOKA, move |key| black_box(cache.get(key)).is_some()),
        Subject::new("moka get", move |key| black_box(plain.get(key)).is_some()),
        Subject::new(MAP, behind_lock),
    ])
}

async fn copy() -> Result<Replica<String, u32>> {
    let store = MemoryStore::new().into_store();
    for number in 0..KEYS {
        let batch = Batch::new().put(format!("k/{}", key(number)), number.to_string());
        store.commit(batch).await?;
    }
    let source = StoreSource::new(store, "k/");
    Ok(Replica::builder(source).build()?.start().await?)
}

fn time(
    keys: &[String],
    read: &(impl Fn(&str) -> bool + Sync),
    reads: u64,
    threads: usize,
) -> Duration {
    let start = Barrier::new(threads);
    let each = usize::try_from(reads).unwrap_or(usize::MAX) / threads;
    let run = |first: usize| -> (Instant, Instant) {
        // Each thread begins elsewhere.
        let order = || keys.iter().cycle().skip(first * keys.len() / threads);
        let mut found = order().take(keys.len()).all(|key| read(key));
        start.wait();
        let began = clock::now();
        for key in order().take(each) {
            found &= read(key);
        }
        let ended = clock::now();
        assert!(found, "a measured read did not find its key");
        (began, ended)
    };
    let spans: Vec<_> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map(|first| scope.spawn(move || run(first)))
            .collect();
        let own = run(0);
        let others = others.into_iter();
        let others = others.map(|other| other.join().expect("a bench thread panicked"));
        others.chain([own]).collect()
    });
    let began = spans.iter().map(|(began, _)| *began).min();
    let ended = spans.iter().map(|(_, ended)| *ended).max();
    match (began, ended) {
        (Some(began), Some(ended)) => ended.duration_since(began),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every subject finds every key.
    #[test]
    fn every_key_is_found() {
        for subject in all().unwrap() {
            subject.time(1_000, 1);
            subject.time(1_000, 2);
        }
        let mut keys = order();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), KEYS as usize);
    }
}
