//! Copies of a store's keys, and of what its events come to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_replica::conformance::{Subject, Way};
use backstay_replica::{LogSource, Session, Source, Start, StoreSource, Told};
use backstay_store::conformance::START;
use backstay_store::{
    Batch, CommitError, Event, Expected, MemoryStore, Recorded, SqliteOptions, Store, TestClock,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tempfile::TempDir;
use test_servers::Proxy;
use tokio::sync::watch;
use tokio::time::sleep;

use super::set;

const DAY: Duration = Duration::from_secs(25 * 3_600);

/// What of a store is copied.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Of {
    Keys,
    Log,
}

/// A store, another one from some moment on, and a way to it.
pub(super) struct Stored {
    of: Of,
    /// Whoever writes.
    store: Mutex<Store>,
    way: Wayward,
    clock: TestClock,
    folder: TempDir,
    /// Where the store is on a server.
    proxy: Option<Proxy>,
}

/// The way of a source to a store.
#[derive(Clone)]
struct Wayward {
    of: Of,
    store: watch::Sender<Store>,
    way: watch::Sender<Way>,
}

impl Stored {
    fn memory(of: Of) -> Self {
        let clock = TestClock::at(START);
        let store = MemoryStore::with_clock(clock.clone()).into_store();
        Self::over(of, store.clone(), store, clock, None)
    }

    async fn sqlite(of: Of) -> Self {
        let memory = Self::memory(of);
        memory.replace(memory.open("one.db").await);
        memory
    }

    pub(super) fn over(
        of: Of,
        store: Store,
        copied: Store,
        clock: TestClock,
        proxy: Option<Proxy>,
    ) -> Self {
        let way = Wayward {
            of,
            store: watch::Sender::new(copied),
            way: watch::Sender::new(Way::Free),
        };
        Self {
            of,
            store: Mutex::new(store),
            way,
            clock,
            folder: tempfile::tempdir().expect("a folder"),
            proxy,
        }
    }

    async fn open(&self, name: &str) -> Store {
        let options = SqliteOptions::new().clock(self.clock.clone());
        let opened = options.open(self.folder.path().join(name)).await;
        opened.expect("a store").store()
    }

    fn replace(&self, store: Store) {
        *self.store.lock().expect("nobody panics") = store.clone();
        self.way.store.send_replace(store);
    }

    fn store(&self) -> Store {
        self.store.lock().expect("nobody panics").clone()
    }

    /// Again and again, while the server is away.
    async fn commit(&self, batch: Batch) -> u64 {
        loop {
            match self.store().commit(batch.clone()).await {
                Ok(commit) => return commit.position.get(),
                Err(CommitError::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Source<String, u32> for Wayward {
    fn name(&self) -> String {
        "wayward".to_owned()
    }

    fn open(&self, start: Start) -> Session<String, u32> {
        let mut store = self.store.subscribe();
        let now = store.borrow_and_update().clone();
        let session = match self.of {
            Of::Keys => StoreSource::new(now, "k/").open(start),
            Of::Log => LogSource::new(now, "k", read).open(start),
        };
        let way = self.way.clone();
        let late = session.then(move |news| {
            let mut way = way.subscribe();
            async move {
                let is_free = |way: &Way| *way != Way::Cut;
                let now = *way.wait_for(is_free).await.expect("it stays");
                if let Way::Slow(time) = now {
                    sleep(time).await;
                }
                news
            }
        });
        // With the store goes the connection.
        let replaced = async move { drop(store.changed().await) };
        late.take_until(replaced).boxed()
    }
}

fn read(event: &Recorded) -> Result<Told<String, u32>, Box<dyn std::error::Error + Send + Sync>> {
    let key = event.stream.clone();
    Ok(match event.kind.as_str() {
        "is" => Told::Is(key, std::str::from_utf8(&event.data)?.parse()?),
        "gone" => Told::Gone(key),
        _ => Told::Nothing,
    })
}

impl Subject for Stored {
    fn source(&self) -> Arc<dyn Source<String, u32>> {
        Arc::new(self.way.clone())
    }

    fn put<'s>(&'s self, key: &'s str, value: Option<u32>) -> BoxFuture<'s, u64> {
        let name = format!("k/{key}");
        let batch = match (self.of, value) {
            (Of::Keys, Some(value)) => Batch::new().put(name, value.to_string()),
            (Of::Keys, None) => Batch::new().delete(name, Expected::Any),
            (Of::Log, Some(value)) => Batch::new().append(key, Event::new("is", value.to_string())),
            (Of::Log, None) => Batch::new().append(key, Event::new("gone", "")),
        };
        self.commit(batch).boxed()
    }

    fn spoil<'s>(&'s self, key: &'s str) -> BoxFuture<'s, ()> {
        let batch = match self.of {
            Of::Keys => Batch::new().put(format!("k/{key}"), "no number"),
            // What an event says can't be taken back: only a reader that knows better goes on.
            Of::Log => return async {}.boxed(),
        };
        self.commit(batch).map(drop).boxed()
    }

    fn put_aside(&self) -> BoxFuture<'_, u64> {
        let batch = match self.of {
            Of::Keys => Batch::new().put("other", "1"),
            Of::Log => Batch::new().append("other", Event::new("seen", "")),
        };
        self.commit(batch).boxed()
    }

    fn way(&self, way: Way) {
        match &self.proxy {
            Some(proxy) => set(proxy, way),
            None => drop(self.way.way.send_replace(way)),
        }
    }

    fn forget(&self) -> BoxFuture<'_, ()> {
        async {
            self.clock.advance(DAY);
            self.store().sweep().await.expect("a sweep");
        }
        .boxed()
    }

    fn begin_anew(&self) -> BoxFuture<'_, ()> {
        async {
            let other = MemoryStore::with_clock(self.clock.clone());
            self.replace(other.into_store());
        }
        .boxed()
    }
}

mod keys_in_memory {
    backstay_replica::conformance!(super::Stored::memory(super::Of::Keys));
}

mod keys_in_sqlite {
    backstay_replica::conformance!(super::Stored::sqlite(super::Of::Keys).await);
}

mod a_log_in_memory {
    backstay_replica::conformance!(
        super::Stored::memory(super::Of::Log);
        a_snapshot_is_whole,
        changes_are_followed,
        what_is_left_out_moves_the_version,
        nothing_new_is_proved,
        an_age_counts_from_before_the_question,
        a_session_goes_on_after_a_cut,
        much_changes_during_a_cut,
        what_is_forgotten_is_gone,
        another_history_replaces_this,
        every_age_is_true,
    );
}

mod a_log_in_sqlite {
    backstay_replica::conformance!(
        super::Stored::sqlite(super::Of::Log).await;
        a_snapshot_is_whole,
        changes_are_followed,
        what_is_left_out_moves_the_version,
        nothing_new_is_proved,
        an_age_counts_from_before_the_question,
        a_session_goes_on_after_a_cut,
        much_changes_during_a_cut,
        another_history_replaces_this,
        every_age_is_true,
    );
}
