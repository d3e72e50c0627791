//! Loads that are under way: one for a key, in a task of its own.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::entry::Entry;

/// How a load has ended.
pub(super) enum Landed<V, E> {
    Loaded(Arc<Entry<V>>),
    Failed(Arc<E>),
    /// An invalidation came first: load again.
    Withdrawn,
    /// It panicked, or its runtime has ended.
    Lost,
}

impl<V, E> Clone for Landed<V, E> {
    fn clone(&self) -> Self {
        match self {
            Self::Loaded(entry) => Self::Loaded(entry.clone()),
            Self::Failed(error) => Self::Failed(error.clone()),
            Self::Withdrawn => Self::Withdrawn,
            Self::Lost => Self::Lost,
        }
    }
}

struct Flight<V, E> {
    number: u64,
    landed: watch::Sender<Option<Landed<V, E>>>,
    /// None until it is spawned.
    task: Option<AbortHandle>,
    /// Nobody waits for it, and it is wanted all the same.
    is_kept: bool,
    waiters: usize,
}

impl<V, E> Flight<V, E> {
    fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Under<K, V, E> {
    flights: HashMap<K, Flight<V, E>>,
    count: u64,
}

/// A flight, and its load's end where it has none yet.
type Begun<'u, K, V, E> = (&'u mut Flight<V, E>, Option<Taken<K, V, E>>);

pub(super) struct Flights<K, V, E> {
    under: Arc<Mutex<Under<K, V, E>>>,
    limit: usize,
}

/// What was withdrawn; its loads end and who waits hears of it when this goes, which is not under the lock.
pub(super) struct WithdrawnFlights<V, E>(Vec<Flight<V, E>>);

impl<V, E> Drop for WithdrawnFlights<V, E> {
    fn drop(&mut self) {
        for flight in &self.0 {
            flight.landed.send_replace(Some(Landed::Withdrawn));
            flight.abort();
        }
    }
}

impl<K, V, E> Flights<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(limit: usize) -> Self {
        let under = Under {
            flights: HashMap::new(),
            count: 0,
        };
        Self {
            under: Arc::new(Mutex::new(under)),
            limit,
        }
    }

    /// Waits for the load of a key, which begins if there is none. The bound, if there are too many.
    pub(super) fn join<F>(
        &self,
        key: &K,
        load: impl FnOnce() -> F,
    ) -> Result<Waiter<K, V, E>, usize>
    where
        F: FnOnce(Taken<K, V, E>) -> BoxFuture<'static, ()> + Send + 'static,
    {
        let mut under = lock(&self.under);
        let (flight, begun) = self.get_or_begin(&mut under, key)?;
        flight.waiters += 1;
        // From now on it is wanted for as long as somebody waits: one that hangs must not keep its key for ever.
        flight.is_kept = false;
        let waiter = Waiter {
            key: key.clone(),
            number: flight.number,
            landed: flight.landed.subscribe(),
            under: self.under.clone(),
        };
        drop(under);
        if let Some(taken) = begun {
            self.spawn(taken, load());
        }
        Ok(waiter)
    }

    /// Begins a load that goes on although nobody waits for it.
    pub(super) fn begin_unwaited<F>(&self, key: &K, load: impl FnOnce() -> F) -> Result<(), usize>
    where
        F: FnOnce(Taken<K, V, E>) -> BoxFuture<'static, ()> + Send + 'static,
    {
        let mut under = lock(&self.under);
        let (flight, begun) = self.get_or_begin(&mut under, key)?;
        let Some(taken) = begun else { return Ok(()) };
        flight.is_kept = true;
        drop(under);
        self.spawn(taken, load());
        Ok(())
    }

    /// The flight of a key, which begins if there is none. The bound, if there are too many.
    fn get_or_begin<'u>(
        &self,
        under: &'u mut Under<K, V, E>,
        key: &K,
    ) -> Result<Begun<'u, K, V, E>, usize> {
        let mut begun = None;
        if !under.flights.contains_key(key) {
            if under.flights.len() >= self.limit {
                return Err(self.limit);
            }
            under.count += 1;
            let number = under.count;
            begun = Some(Taken {
                key: key.clone(),
                number,
                under: self.under.clone(),
            });
            let flight = Flight {
                number,
                landed: watch::Sender::new(None),
                task: None,
                is_kept: false,
                waiters: 0,
            };
            under.flights.insert(key.clone(), flight);
        }
        let flight = under.flights.get_mut(key);
        Ok((flight.expect("it was there or has begun"), begun))
    }

    /// Not under the lock: a runtime that ends drops the load at once, and that takes the lock.
    fn spawn<F>(&self, taken: Taken<K, V, E>, load: F)
    where
        F: FnOnce(Taken<K, V, E>) -> BoxFuture<'static, ()> + Send + 'static,
    {
        let (key, number) = (taken.key.clone(), taken.number);
        let task = tokio::spawn(async move { load(taken).await }).abort_handle();
        let mut under = lock(&self.under);
        if let Some(flight) = current(&mut under, &key, number) {
            flight.task = Some(task);
        } else {
            // It has landed, or was taken back meanwhile.
            drop(under);
            task.abort();
        }
    }

    /// Takes a key's load back, if there is one.
    pub(super) fn withdraw(&self, key: &K) -> WithdrawnFlights<V, E> {
        let flight = lock(&self.under).flights.remove(key);
        WithdrawnFlights(flight.into_iter().collect())
    }

    /// Takes all loads back, and does `also` before another can begin or end.
    pub(super) fn withdraw_all(&self, also: impl FnOnce()) -> WithdrawnFlights<V, E> {
        let mut under = lock(&self.under);
        let flights = std::mem::take(&mut under.flights);
        also();
        WithdrawnFlights(flights.into_values().collect())
    }
}

/// The load's own end of a flight. Dropped before it has landed, it is lost.
pub(super) struct Taken<K: Hash + Eq, V, E> {
    key: K,
    number: u64,
    under: Arc<Mutex<Under<K, V, E>>>,
}

impl<K: Hash + Eq, V, E> Taken<K, V, E> {
    /// Whether nobody has taken it back.
    pub(super) fn is_current(&self) -> bool {
        current(&mut lock(&self.under), &self.key, self.number).is_some()
    }

    /// Ends the flight. What it brought is read by others only if nobody has taken it back.
    pub(super) fn land(self, landed: Landed<V, E>) {
        let mut under = lock(&self.under);
        if let Some(flight) = remove(&mut under, &self.key, self.number) {
            if let Landed::Loaded(entry) = &landed {
                entry.settle();
            }
            drop(under);
            flight.landed.send_replace(Some(landed));
        }
    }
}

impl<K: Hash + Eq, V, E> Drop for Taken<K, V, E> {
    fn drop(&mut self) {
        let flight = remove(&mut lock(&self.under), &self.key, self.number);
        if let Some(flight) = flight {
            flight.landed.send_replace(Some(Landed::Lost));
        }
    }
}

/// Somebody who waits for a load. The last one who leaves cancels it.
pub(super) struct Waiter<K: Hash + Eq, V, E> {
    key: K,
    number: u64,
    landed: watch::Receiver<Option<Landed<V, E>>>,
    under: Arc<Mutex<Under<K, V, E>>>,
}

impl<K: Hash + Eq, V, E> Waiter<K, V, E> {
    pub(super) async fn landed(mut self) -> Landed<V, E> {
        match self.landed.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or(Landed::Lost),
            Err(_) => Landed::Lost,
        }
    }
}

impl<K: Hash + Eq, V, E> Drop for Waiter<K, V, E> {
    fn drop(&mut self) {
        let mut under = lock(&self.under);
        let Some(flight) = current(&mut under, &self.key, self.number) else {
            return;
        };
        flight.waiters -= 1;
        if flight.waiters == 0 && !flight.is_kept {
            let flight = under.flights.remove(&self.key);
            drop(under);
            if let Some(flight) = flight {
                flight.abort();
            }
        }
    }
}

fn current<'u, K: Hash + Eq, V, E>(
    under: &'u mut Under<K, V, E>,
    key: &K,
    number: u64,
) -> Option<&'u mut Flight<V, E>> {
    let flight = under.flights.get_mut(key);
    flight.filter(|flight| flight.number == number)
}

fn remove<K: Hash + Eq, V, E>(
    under: &mut Under<K, V, E>,
    key: &K,
    number: u64,
) -> Option<Flight<V, E>> {
    current(under, key, number)?;
    under.flights.remove(key)
}

fn lock<K, V, E>(under: &Mutex<Under<K, V, E>>) -> MutexGuard<'_, Under<K, V, E>> {
    // What runs under it changes one entry at a time.
    under.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backstay_core::Moment;
    use tokio::sync::oneshot;

    use super::super::entry::Windows;
    use super::*;

    type Out = Taken<u8, (), ()>;

    /// A load that gives its own end away, so that nothing stops it.
    fn begin(flights: &Flights<u8, (), ()>) -> (Waiter<u8, (), ()>, oneshot::Receiver<Out>) {
        let (give, taken) = oneshot::channel();
        let load = move |taken| -> BoxFuture<'static, ()> {
            assert!(give.send(taken).is_ok());
            Box::pin(std::future::pending())
        };
        let waiter = flights.join(&7, || load);
        (waiter.expect("one is not too many"), taken)
    }

    fn entry() -> Arc<Entry<()>> {
        let second = Duration::from_secs(1);
        let windows = Windows {
            ttl: second,
            negative_ttl: second,
            while_revalidate: second,
            if_error: second,
            fail_closed: None,
        };
        Arc::new(Entry::new(
            Some(()),
            1,
            0,
            1,
            Moment::default(),
            &windows,
            0.5,
        ))
    }

    /// REP-5: what lands after it was taken back is read by nobody, also where the load could not be stopped.
    #[tokio::test]
    async fn what_lands_late_is_not_read() {
        let flights = Flights::new(1);
        let (waiter, taken) = begin(&flights);
        let taken = taken.await.expect("it has begun");
        drop(flights.withdraw(&7));
        let (other, other_taken) = begin(&flights);
        let late = entry();
        taken.land(Landed::Loaded(late.clone()));
        assert!(!late.is_settled());
        assert!(matches!(waiter.landed().await, Landed::Withdrawn));

        let other_taken = other_taken.await.expect("it has begun");
        let in_time = entry();
        other_taken.land(Landed::Loaded(in_time.clone()));
        assert!(in_time.is_settled());
        assert!(matches!(other.landed().await, Landed::Loaded(_)));
    }
}
