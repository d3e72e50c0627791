use std::fmt;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use backstay_core::Invalid;
use backstay_core::backoff::Backoff;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::disk::{Disk, Wanted};
use crate::drive::drive;
use crate::event::Listener;
use crate::options::Options;
use crate::replica::{Held, Shared};
use crate::{Clock, Event, Origin, ReadError, Replica, Source, WarmError};

/// Collects the options of a [`Replica`].
#[must_use = "a builder builds nothing until `build`"]
pub struct ReplicaBuilder<K, V> {
    source: Arc<dyn Source<K, V>>,
    options: Options,
    clock: Clock,
    listener: Listener<Event>,
    disk: Option<Disk<K, V>>,
}

impl<K, V> ReplicaBuilder<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(source: Arc<dyn Source<K, V>>) -> Self {
        Self {
            source,
            options: Options::default(),
            clock: Clock::default(),
            listener: Listener::default(),
            disk: None,
        }
    }

    /// How often the source proves that nothing is missing: 10 ms to 60 s, 5 s by default.
    ///
    /// It is the age up to which a copy gets while nobody asks for a younger one. A session that proves nothing for two and a half
    /// is given up.
    pub fn heartbeat(mut self, time: Duration) -> Self {
        self.options.heartbeat = time;
        self
    }

    /// No read is served from a copy older than this; at least two heartbeats. By default there is no such bound.
    ///
    /// Two is a floor. A session that is dead is known to be after two and a half and another one has to prove: with three and a half or
    /// more nothing is refused because of one dead connection.
    ///
    /// For what is dangerous when it is old, such as who may do what: better no answer than one of yesterday.
    pub fn fail_closed(mut self, max_age: Duration) -> Self {
        self.options.fail_closed = Some(max_age);
        self
    }

    /// How many keys the copy may have, 1,000,000 by default. A source with more is not followed.
    pub fn max_entries(mut self, limit: usize) -> Self {
        self.options.max_entries = limit;
        self
    }

    /// How long to wait before the next session after one has failed; decorrelated jitter from 250 ms to 5 s by default.
    ///
    /// A read that waits for a younger copy ends such a wait after a second.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.backoff = backoff;
        self
    }

    /// How long [`start`](Unstarted::start) waits for the first copy, at most 1 h; 10 s by default.
    pub fn ready_within(mut self, time: Duration) -> Self {
        self.options.ready_within = time;
        self
    }

    /// Hears what happens. It is called by the tasks that keep the copy, and must not block. A panic of it changes nothing.
    pub fn on_event(mut self, hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener.add(hear);
        self
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps a file from which the next process begins, served with its true age until the source is heard.
    ///
    /// It is written every [`save_every`](Self::save_every) and at the end, for its owner only. One that is damaged or of another source is
    /// not used, and an event says so. After a restart of the machine its age is by the wall clock; a copy that fails
    /// closed does not take that for proof.
    pub fn warm(mut self, path: impl Into<PathBuf>) -> Self
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        self.disk = Some(Disk::new(path.into()));
        self
    }

    /// How often the file for a warm start is written, 1 s to 1 h; 60 s by default.
    pub fn save_every(mut self, time: Duration) -> Self {
        self.options.save_every = time;
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// Names the option, its value and what is allowed.
    pub fn build(self) -> Result<Unstarted<K, V>, Invalid> {
        self.options.check()?;
        Ok(Unstarted(self))
    }
}

/// A replica that does not follow its source yet.
#[must_use = "it follows nothing until `start` or `spawn`"]
pub struct Unstarted<K, V>(ReplicaBuilder<K, V>);

impl<K, V> Unstarted<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Begins to follow the source, and waits for a first copy that may be read.
    ///
    /// # Errors
    ///
    /// There is none in the time that [`ready_within`](ReplicaBuilder::ready_within) gives; the source is then left
    /// alone. [`spawn`](Self::spawn) does not wait.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub async fn start(self) -> Result<Replica<K, V>, ReadError> {
        let within = self.0.options.ready_within;
        let replica = self.spawn();
        replica.wait_ready(within).await?;
        Ok(replica)
    }

    /// Begins to follow the source. Reads fail until there is a first copy.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn spawn(self) -> Replica<K, V> {
        let ReplicaBuilder {
            source,
            options,
            clock,
            listener,
            disk,
        } = self.0;
        let shared = Arc::new(Shared::new(source.name(), options, clock, listener));
        let (stop, stopped) = watch::channel(false);
        let (ending, ended) = watch::channel(());
        let tasks = tasks(shared.clone(), source, disk, stopped);
        tokio::spawn(async move {
            tasks.await;
            drop(ending);
        });
        Replica {
            shared,
            held: Arc::new(Held { stop, ended }),
        }
    }
}

/// Reads the file, follows the source and writes the file, until it is told to stop.
async fn tasks<K, V>(
    shared: Arc<Shared<K, V>>,
    source: Arc<dyn Source<K, V>>,
    disk: Option<Disk<K, V>>,
    stop: watch::Receiver<bool>,
) where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let disk = disk.map(Arc::new);
    if let Some(disk) = &disk {
        warm(&shared, disk).await;
    }
    select! {
        biased;
        () = drive(shared.clone(), source, stop) => {}
        () = keep(&shared, disk.as_ref()) => {}
    }
    if let Some(disk) = &disk {
        save(&shared, disk).await;
    }
    shared.listener.hear(&Event::Stopped);
}

/// Tells the copy's age once a heartbeat, and saves it now and then.
async fn keep<K, V>(shared: &Arc<Shared<K, V>>, disk: Option<&Arc<Disk<K, V>>>)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let mut save_at = Instant::now() + shared.options.save_every;
    let mut tell_at = Instant::now();
    loop {
        tell_at += shared.options.heartbeat;
        sleep_until(tell_at).await;
        let (age, entries) = (shared.age(), shared.len());
        shared.listener.hear(&Event::Age { age, entries });
        let now = Instant::now();
        if let Some(disk) = disk
            && save_at <= now
        {
            save_at = now + shared.options.save_every;
            save(shared, disk).await;
        }
    }
}

async fn warm<K, V>(shared: &Arc<Shared<K, V>>, disk: &Arc<Disk<K, V>>)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let (of, by) = (shared.clone(), disk.clone());
    let load = move || {
        let wanted = Wanted {
            source: &of.name,
            clock: &of.clock,
            max_entries: of.options.max_entries,
            fail_closed: of.options.fail_closed,
        };
        (by.load)(&by.path, &wanted)
    };
    let event = match blocking(load).await {
        Ok(None) => return,
        Ok(Some(found)) => {
            let version = found.version;
            shared.install(found.loading, version, found.asked, Origin::Disk);
            Event::WarmStarted {
                version,
                age: shared.age().unwrap_or_default(),
                entries: shared.len(),
            }
        }
        Err(reason) => Event::WarmIgnored { reason },
    };
    shared.listener.hear(&event);
}

async fn save<K, V>(shared: &Arc<Shared<K, V>>, disk: &Arc<Disk<K, V>>)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    // A file that was only read is left as it was: written anew it would say that its age is of this start of the machine.
    let Some(table) = shared.table().filter(|table| table.is_heard()) else {
        return;
    };
    let (of, by) = (shared.clone(), disk.clone());
    let write = move || {
        let _alone = by.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (by.save)(&by.path, &table, &of.name, &of.clock)
    };
    let saved = blocking(write).await;
    if let Err(reason) = saved {
        shared.listener.hear(&Event::WarmNotSaved { reason });
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WarmError> + Send + 'static,
) -> Result<T, WarmError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| Err(WarmError::Damaged(panicked.to_string())))
}

impl<K, V> fmt::Debug for ReplicaBuilder<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaBuilder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for Unstarted<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unstarted").field(&self.0).finish()
    }
}
