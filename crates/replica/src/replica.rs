use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use backstay_core::Moment;
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::event::Listener;
use crate::follow::Broken;
use crate::nudge::Nudge;
use crate::options::Options;
use crate::table::{Loading, Table};
use crate::{
    Change, Clock, Event, MaxAge, Origin, ReadError, Reading, ReplicaBuilder, Source, Version,
};

/// A local copy of a source, whose every read knows its age. Cheap to clone; all clones are the same copy.
///
/// A task follows the source for as long as a clone is held. Reads take no lock.
pub struct Replica<K, V> {
    pub(crate) shared: Arc<Shared<K, V>>,
    pub(crate) held: Arc<Held>,
}

/// When the last clone goes, so does this, and the tasks end.
pub(crate) struct Held {
    pub(crate) stop: watch::Sender<bool>,
    /// Closed when all tasks have ended.
    pub(crate) ended: watch::Receiver<()>,
}

pub(crate) struct Shared<K, V> {
    pub(crate) name: String,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) listener: Listener<Event>,
    pub(crate) nudge: Arc<Nudge>,
    table: ArcSwapOption<Table<K, V>>,
    /// Counts proofs.
    proofs: watch::Sender<u64>,
}

impl<K, V> Replica<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A copy of this source, with the default options.
    pub fn builder(source: impl Source<K, V>) -> ReplicaBuilder<K, V> {
        ReplicaBuilder::new(Arc::new(source))
    }

    /// What the copy says of a key, if it is young enough.
    ///
    /// Where it is not, the source is asked at once, by one request for all who wait, and the read waits for as long
    /// as `max_age` says. With [`MaxAge::ANY`] it never waits for the network once there is a copy.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotReady`] without a first copy, [`ReadError::Stale`] with one that is too old.
    ///
    /// # Cancel safety
    ///
    /// Dropping it has no effect.
    pub async fn get<Q>(&self, key: &Q, max_age: MaxAge) -> Result<Reading<V>, ReadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match self.shared.read(key, max_age.limit) {
            Ok(reading) => Ok(reading),
            Err(_) => {
                self.wait(max_age.wait, || self.shared.read(key, max_age.limit))
                    .await
            }
        }
    }

    /// What the copy says of a key, however old it is, without waiting.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotReady`] without a first copy, [`ReadError::Stale`] where the copy
    /// [fails closed](ReplicaBuilder::fail_closed) and is older than that allows.
    #[inline]
    pub fn peek<Q>(&self, key: &Q) -> Result<Reading<V>, ReadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shared.read(key, Duration::MAX)
    }

    /// As [`get`](Self::get), from a copy that holds a version: that of a write of one's own.
    ///
    /// # Errors
    ///
    /// As `get`, and [`ReadError::Behind`].
    pub async fn at_least<Q>(
        &self,
        version: Version,
        key: &Q,
        max_age: MaxAge,
    ) -> Result<Reading<V>, ReadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let look = || {
            let reading = self.shared.read(key, max_age.limit)?;
            if reading.version < version {
                let (held, wanted) = (reading.version, version);
                return Err(ReadError::Behind { held, wanted });
            }
            Ok(reading)
        };
        match look() {
            Ok(reading) => Ok(reading),
            Err(_) => self.wait(max_age.wait, look).await,
        }
    }

    async fn wait<T>(
        &self,
        time: Duration,
        look: impl Fn() -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        // Whoever may not wait does not ask either.
        if time.is_zero() {
            return look();
        }
        let until = Instant::now().checked_add(time);
        let mut proofs = self.shared.proofs.subscribe();
        let mut stop = self.held.stop.subscribe();
        loop {
            proofs.mark_unchanged();
            let found = look();
            if found.is_ok() || *stop.borrow() {
                return found;
            }
            // The first copy is on its way; what follows it is not asked for yet.
            if self.version().is_some() {
                self.shared.nudge.nudge();
            }
            let heard = async {
                select! {
                    _ = proofs.changed() => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            };
            let Some(until) = until else {
                heard.await;
                continue;
            };
            if timeout_at(until, heard).await.is_err() {
                return look();
            }
        }
    }

    /// Waits for the first copy, at most so long.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotReady`]; a copy from disk does if it may be read.
    pub async fn wait_ready(&self, within: Duration) -> Result<(), ReadError> {
        self.wait(within, || self.shared.is_readable()).await
    }

    /// What the copy holds; none before the first.
    pub fn version(&self) -> Option<Version> {
        self.shared.version()
    }

    /// How old the copy is; none before the first.
    pub fn age(&self) -> Option<Duration> {
        self.shared.age()
    }

    /// How many keys the copy has.
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether the copy has no key, or there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls for each key of the copy, in no order. What changes meanwhile is told before or after its change.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn for_each(&self, mut take: impl FnMut(&K, &Arc<V>)) -> Result<(), ReadError> {
        self.shared.is_readable()?;
        if let Some(table) = &*self.shared.table.load() {
            table.each(|key, _, value| take(key, value));
        }
        Ok(())
    }

    /// Stops to follow the source, writes the file for a warm start, and waits until that is done.
    ///
    /// Reads go on, from a copy that gets older.
    ///
    /// # Cancel safety
    ///
    /// Once polled it goes on by itself.
    pub async fn stop(&self) {
        self.held.stop.send_replace(true);
        let mut ended = self.held.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

impl<K, V> Shared<K, V>
where
    K: Hash + Eq,
{
    pub(crate) fn new(
        name: String,
        options: Options,
        clock: Clock,
        listener: Listener<Event>,
    ) -> Self {
        Self {
            name,
            options,
            clock,
            listener,
            nudge: Arc::default(),
            table: ArcSwapOption::empty(),
            proofs: watch::Sender::new(0),
        }
    }

    #[inline]
    fn read<Q>(&self, key: &Q, limit: Duration) -> Result<Reading<V>, ReadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let limit = self
            .options
            .fail_closed
            .map_or(limit, |most| most.min(limit));
        let table = self.table.load();
        let table = table.as_ref().ok_or(ReadError::NotReady)?;
        let reading = table.read(key, &self.clock);
        if reading.age <= limit {
            return Ok(reading);
        }
        let reading = table.read_exactly(key, &self.clock);
        within(reading.age, limit).map(|()| reading)
    }

    fn is_readable(&self) -> Result<(), ReadError> {
        let age = self.age().ok_or(ReadError::NotReady)?;
        within(age, self.options.fail_closed.unwrap_or(Duration::MAX))
    }

    pub(crate) fn version(&self) -> Option<Version> {
        self.table.load().as_ref().map(|table| table.version())
    }

    pub(crate) fn age(&self) -> Option<Duration> {
        let table = self.table.load();
        table.as_ref().map(|table| table.age(&self.clock))
    }

    pub(crate) fn len(&self) -> usize {
        self.table.load().as_ref().map_or(0, |table| table.len())
    }

    pub(crate) fn table(&self) -> Option<Arc<Table<K, V>>> {
        self.table.load_full()
    }

    pub(crate) fn install(
        &self,
        loading: Loading<K, V>,
        version: Version,
        asked: Moment,
        origin: Origin,
    ) {
        let table = loading.complete(version, asked, origin, &self.clock);
        self.table.store(Some(Arc::new(table)));
        self.proofs.send_modify(|proofs| *proofs += 1);
    }

    pub(crate) fn apply(
        &self,
        upto: Version,
        above: u64,
        changes: Vec<Change<K, V>>,
    ) -> Result<(), Broken> {
        let Some(table) = self.table() else {
            return Err(Broken::Disorder);
        };
        table.apply(upto, above, changes, self.options.max_entries)?;
        self.proofs.send_modify(|proofs| *proofs += 1);
        Ok(())
    }

    /// True if it is a newer proof than the last one.
    pub(crate) fn prove(&self, asked: Moment) -> bool {
        let Some(table) = self.table() else {
            return false;
        };
        let is_newer = asked > table.proven();
        table.prove(&self.clock, asked);
        self.proofs.send_modify(|proofs| *proofs += 1);
        is_newer
    }
}

fn within(age: Duration, limit: Duration) -> Result<(), ReadError> {
    if age <= limit {
        return Ok(());
    }
    Err(ReadError::Stale { age, limit })
}

impl<K, V> Clone for Replica<K, V> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            held: self.held.clone(),
        }
    }
}

impl<K, V> fmt::Debug for Replica<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("source", &self.shared.name)
            .finish_non_exhaustive()
    }
}
