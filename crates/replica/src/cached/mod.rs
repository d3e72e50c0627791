//! Look-ups whose answers are kept.

mod answer;
mod builder;
mod entry;
mod event;
mod flight;

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use backstay_core::backoff::Backoff;
use futures_util::future::BoxFuture;
use moka::sync::Cache;

pub use answer::{Answer, AnswerFrom, LoadError, LookupError};
pub use builder::CachedBuilder;
pub use event::LookupEvent;

use crate::Clock;
use crate::event::Listener;
use entry::{Entry, Judged, Windows};
use flight::{Flights, Landed, Taken};

/// An invalidation sends all who wait to the next load; so often something else is wrong.
const TRIES: usize = 16;

/// Look-ups whose answers are kept, for a bounded time and in bounded room. Cheap to clone; all clones are the same.
///
/// For one key there is one load at a time, in a task of its own: it goes on when one who waits for it leaves, and is cancelled
/// when the last one does.
pub struct Cached<K, V, E> {
    inner: Arc<Inner<K, V, E>>,
}

struct Inner<K, V, E> {
    load: Arc<Load<K, V, E>>,
    values: Cache<K, Arc<Entry<V>>>,
    /// Keys that are not there have room of their own, or who asks for many would drive the others out.
    absent: Cache<K, Arc<Entry<V>>>,
    flights: Flights<K, V, E>,
    /// Grows with each invalidation of all; what was loaded before is of no use.
    generation: AtomicU64,
    /// Counts loads.
    loads: AtomicU64,
    windows: Windows,
    backoff: Backoff,
    weigh: Option<Box<Weigh<K, V>>>,
    clock: Clock,
    listener: Listener<LookupEvent>,
}

type Load<K, V, E> = dyn Fn(K) -> BoxFuture<'static, Result<Option<V>, E>> + Send + Sync;
type Weigh<K, V> = dyn Fn(&K, &V) -> u32 + Send + Sync;

impl<K, V, E> Cached<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    E: LoadError,
{
    /// Keeps what this loads; none is the answer for a key that is not there.
    pub fn builder<F, L>(load: L) -> CachedBuilder<K, V, E>
    where
        L: Fn(K) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
    {
        CachedBuilder::new(Arc::new(move |key| Box::pin(load(key))))
    }

    /// The value of a key: kept, or loaded.
    ///
    /// # Errors
    ///
    /// The load failed and nothing kept may be served in its place, there are too many loads, or the answer is older
    /// than a cache that [fails closed](CachedBuilder::fail_closed) serves.
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the load to the others who wait for it, and cancels it where there are none.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn get(&self, key: &K) -> Result<Answer<V>, LookupError<E>> {
        self.get_within(key, Duration::MAX).await
    }

    /// As [`get`](Self::get), and at most so old: what is older is loaded anew, and never served.
    pub async fn get_within(
        &self,
        key: &K,
        max_age: Duration,
    ) -> Result<Answer<V>, LookupError<E>> {
        let limit = self.inner.windows.limit(max_age);
        let begun = self.inner.clock.now();
        for _ in 0..TRIES {
            let kept = self.inner.kept(key);
            let now = self.inner.clock.now();
            let kept = kept.filter(|entry| entry.age(now) <= limit);
            let judged = kept
                .as_ref()
                .map(|entry| entry.judge(now, &self.inner.windows));
            match (judged, kept.as_ref()) {
                (Some(Judged::Fresh), Some(entry)) => {
                    return Ok(entry.answer(now, AnswerFrom::Cache));
                }
                (Some(Judged::Revalidate), Some(entry)) => {
                    if entry.may_retry(now) {
                        self.refresh(key);
                    }
                    return Ok(self.stale(entry, now));
                }
                (Some(Judged::IfError), Some(entry)) if !entry.may_retry(now) => {
                    return Ok(self.stale(entry, now));
                }
                _ => {}
            }
            match self.wait(key).await? {
                Landed::Loaded(entry) => {
                    let now = self.inner.clock.now();
                    let age = entry.age(now);
                    if age <= limit {
                        return Ok(entry.answer(now, AnswerFrom::Load));
                    }
                    // A load that began before this look-up may be too old for it; the next one begins now.
                    if !entry.was_asked_before(begun) {
                        return Err(LookupError::Stale { age, limit });
                    }
                }
                Landed::Failed(error) => return self.failed(key, limit, error),
                Landed::Withdrawn => {}
                Landed::Lost => return Err(LookupError::Lost),
            }
        }
        Err(LookupError::Contended)
    }

    /// What is kept is looked at again: time has passed, and it may have been invalidated.
    fn failed(&self, key: &K, limit: Duration, error: Arc<E>) -> Result<Answer<V>, LookupError<E>> {
        let now = self.inner.clock.now();
        let kept = self.inner.kept(key).filter(|entry| {
            error.is_unavailable()
                && entry.age(now) <= limit
                && entry.judge(now, &self.inner.windows) != Judged::Gone
        });
        match kept {
            Some(entry) => Ok(self.stale(&entry, now)),
            None => Err(LookupError::Load(error)),
        }
    }

    fn stale(&self, entry: &Entry<V>, now: backstay_core::Moment) -> Answer<V> {
        let answer = entry.answer(now, AnswerFrom::Stale);
        let age = answer.age;
        self.inner.listener.hear(&LookupEvent::ServedStale { age });
        answer
    }

    /// Forgets a key. No load that has begun before is kept or served to who asks from now on.
    ///
    /// When it returns that is so.
    pub fn invalidate(&self, key: &K) {
        // First the load, so that nothing of it is kept after this.
        drop(self.inner.flights.withdraw(key));
        self.inner.forget(key);
        self.inner.listener.hear(&LookupEvent::Invalidated);
    }

    /// Forgets all keys, as [`invalidate`](Self::invalidate) does one.
    pub fn invalidate_all(&self) {
        let withdrawn = self.inner.flights.withdraw_all(|| {
            self.inner.generation.fetch_add(1, Release);
        });
        drop(withdrawn);
        // What is of an earlier generation is not read any more; this makes room.
        self.inner.values.invalidate_all();
        self.inner.absent.invalidate_all();
        self.inner.listener.hear(&LookupEvent::Invalidated);
    }

    /// How many values and absent keys are kept, about.
    pub fn len(&self) -> u64 {
        self.inner.values.run_pending_tasks();
        self.inner.absent.run_pending_tasks();
        self.inner.values.entry_count() + self.inner.absent.entry_count()
    }

    /// Whether nothing is kept, about.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn refresh(&self, key: &K) {
        // Where there are too many loads, the next read tries.
        let _ = self.inner.flights.begin_unwaited(key, || self.flight(key));
    }

    async fn wait(&self, key: &K) -> Result<Landed<V, E>, LookupError<E>> {
        let waiter = self.inner.flights.join(key, || self.flight(key));
        match waiter {
            Ok(waiter) => Ok(waiter.landed().await),
            Err(limit) => {
                self.inner.listener.hear(&LookupEvent::Refused { limit });
                Err(LookupError::Busy { limit })
            }
        }
    }

    /// What a load does, from before its request to what is kept of it.
    fn flight(
        &self,
        key: &K,
    ) -> impl FnOnce(Taken<K, V, E>) -> BoxFuture<'static, ()> + use<K, V, E> {
        let (inner, key) = (self.inner.clone(), key.clone());
        move |taken| {
            Box::pin(async move {
                let generation = inner.generation.load(Acquire);
                let number = inner.loads.fetch_add(1, Relaxed) + 1;
                let asked = inner.clock.now();
                let loaded = (inner.load)(key.clone()).await;
                let took = inner.clock.now().since(asked);
                let landed = match loaded {
                    Ok(value) => {
                        inner.listener.hear(&LookupEvent::Loaded { took });
                        let weight = match (&value, &inner.weigh) {
                            // What weighs nothing would have no bound.
                            (Some(value), Some(weigh)) => weigh(&key, value).max(1),
                            _ => 1,
                        };
                        let random = fastrand::f64();
                        let windows = &inner.windows;
                        let entry =
                            Entry::new(value, number, generation, weight, asked, windows, random);
                        Landed::Loaded(Arc::new(entry))
                    }
                    Err(error) => {
                        let is_unavailable = error.is_unavailable();
                        inner.listener.hear(&LookupEvent::LoadFailed {
                            took,
                            is_unavailable,
                        });
                        if is_unavailable {
                            inner.put_off(&key);
                        } else if taken.is_current() {
                            // The source has answered: what was kept is not so any more.
                            inner.forget(&key);
                        }
                        Landed::Failed(Arc::new(error))
                    }
                };
                inner.keep(&key, &landed);
                taken.land(landed);
            })
        }
    }
}

impl<K, V, E> Inner<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn kept(&self, key: &K) -> Option<Arc<Entry<V>>> {
        let entry = self.values.get(key).or_else(|| self.absent.get(key))?;
        let is_current = entry.generation == self.generation.load(Acquire);
        (is_current && entry.is_settled()).then_some(entry)
    }

    /// Before the load has landed: until then nobody reads it.
    fn keep(&self, key: &K, landed: &Landed<V, E>) {
        let Landed::Loaded(entry) = landed else {
            return;
        };
        let (to, from) = if entry.is_absent() {
            (&self.absent, &self.values)
        } else {
            (&self.values, &self.absent)
        };
        from.invalidate(key);
        if !(entry.is_absent() && self.windows.negative_ttl.is_zero()) {
            to.insert(key.clone(), entry.clone());
        }
    }

    fn forget(&self, key: &K) {
        self.values.invalidate(key);
        self.absent.invalidate(key);
    }

    /// A load has failed: what is kept is not loaded anew at once.
    fn put_off(&self, key: &K) {
        if let Some(entry) = self.kept(key) {
            entry.put_off(self.clock.now(), &self.backoff, fastrand::u64(..));
        }
    }
}

impl<K, V, E> Clone for Cached<K, V, E> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<K, V, E> fmt::Debug for Cached<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").finish_non_exhaustive()
    }
}
