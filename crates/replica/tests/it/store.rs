//! A copy of a store's keys.

use std::sync::{Arc, Mutex};

use backstay_replica::{
    Clock, Codec, MaxAge, News, Replica, Session, Source, Start, StoreSource, Version,
};
use backstay_store::{Batch, MemoryStore, Put, SqliteStore, Store, TestClock, Timestamp};
use futures_util::StreamExt;
use futures_util::future::ready;
use futures_util::stream::pending;
use tokio::time::sleep;

use super::world::{Heard, MS, S};

const EPOCH: &str = "backstay/replica/epoch";

async fn put(store: &Store, key: &str, value: u32) -> u64 {
    let batch = Batch::new().put(key, value.to_string());
    store.commit(batch).await.expect("a commit").position.get()
}

async fn copy_of(source: impl Source<String, u32>) -> Replica<String, u32> {
    let builder = Replica::builder(source).clock(Clock::tokio());
    builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy")
}

fn value(copy: &Replica<String, u32>, key: &str) -> Option<u32> {
    copy.peek(key).expect("a reading").value.as_deref().copied()
}

/// REP-3: keys are copied without their prefix, page after page, and followed; others' keys move the version only.
#[tokio::test(start_paused = true)]
async fn keys_are_copied_and_followed() {
    let store = MemoryStore::new().into_store();
    for number in 0..1_234 {
        put(&store, &format!("k/{number}"), number).await;
    }
    put(&store, "other", 1).await;
    let copy = copy_of(StoreSource::new(store.clone(), "k/")).await;
    assert_eq!(copy.len(), 1_234);
    assert_eq!(
        (value(&copy, "0"), value(&copy, "1233")),
        (Some(0), Some(1_233))
    );

    put(&store, "k/7", 700).await;
    let gone = Batch::new().delete("k/8", backstay_store::Expected::Any);
    let gone = store.commit(gone).await.expect("a commit");
    let version = copy.version().expect("a copy").at(gone.position.get());
    let reading = copy
        .at_least(version, "8", MaxAge::ANY)
        .await
        .expect("it is followed");
    assert_eq!((reading.value, value(&copy, "7")), (None, Some(700)));

    put(&store, "other", 2).await;
    let head = version.at(store.head().await.expect("a head").get());
    copy.at_least(head, "7", MaxAge::ANY)
        .await
        .expect("it is followed");
}

/// REP-1: on a store where others never rest a copy is proved all the same, and asked it is as young as a look.
#[tokio::test(start_paused = true)]
async fn a_busy_store_is_proved() {
    let store = MemoryStore::new().into_store();
    put(&store, "k/a", 1).await;
    let copy = copy_of(StoreSource::new(store.clone(), "k/")).await;
    for number in 0..300 {
        put(&store, "other", number).await;
        sleep(MS(50)).await;
        assert!(copy.age().expect("a copy") <= S(6));
    }
    let reading = copy
        .get("a", MaxAge::millis(100))
        .await
        .expect("it is asked");
    assert!(reading.age <= MS(100));
}

/// A copy of it is never followed: it stays as the snapshot was.
struct OnlySnapshot(StoreSource<String, u32>);

impl Source<String, u32> for OnlySnapshot {
    fn name(&self) -> String {
        self.0.name()
    }

    fn open(&self, start: Start) -> Session<String, u32> {
        let snapshot = self.0.open(start).scan(false, |is_over, news| {
            let told = (!*is_over).then_some(news);
            *is_over = matches!(told, Some(Ok(News::Complete { .. })));
            ready(told)
        });
        snapshot.chain(pending()).boxed()
    }
}

/// REP-3: what changes while pages are read is in the copy, in its last form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_of_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = SqliteStore::open(folder.path().join("s.db"))
        .await
        .expect("a store");
    let store = sqlite.store();
    for thousand in 0..2 {
        let keys = (0..1_000).map(|number| format!("k/{thousand}{number:03}"));
        let all = keys.fold(Batch::new(), |batch, key| batch.put(key, "0"));
        store.commit(all).await.expect("a commit");
    }
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for turn in 1..=200u32 {
                // Both in one commit: a copy that has one and not the other is of no moment.
                let batch = Batch::new()
                    .put("k/0001", turn.to_string())
                    .put("k/1999", turn.to_string());
                store.commit(batch).await.expect("a commit");
            }
        })
    };
    let mut snapshots = 0;
    while !writer.is_finished() || snapshots < 5 {
        let source = OnlySnapshot(StoreSource::new(store.clone(), "k/"));
        let built = Replica::builder(source).build().expect("options");
        let copy = built.start().await.expect("a copy");
        assert_eq!(copy.len(), 2_000);
        assert_eq!(value(&copy, "0001"), value(&copy, "1999"));
        snapshots += 1;
    }
    writer.await.expect("it has written");
    let source = StoreSource::new(store.clone(), "k/");
    let copy: Replica<String, u32> = Replica::builder(source)
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    assert_eq!(
        (value(&copy, "0001"), value(&copy, "1999")),
        (Some(200), Some(200))
    );
}

/// REP-1: what has expired is gone at the next proof, whether or not the store has swept; until then the age says that it is older.
#[tokio::test(start_paused = true)]
async fn what_has_expired_is_not_proved() {
    let clock = TestClock::going_from(Timestamp::from_millis(1_000));
    let store = MemoryStore::with_clock(clock).into_store();
    let put = |key, time| {
        let put = Put::new("1").expires_after(time);
        store.commit(Batch::new().put(key, put))
    };
    put("k/a", S(10)).await.expect("a commit");
    let copy = copy_of(StoreSource::new(store.clone(), "k/")).await;
    put("k/b", S(20)).await.expect("a commit");
    let look = async |key| {
        let reading = copy.get(key, MaxAge::millis(1)).await.expect("a reading");
        reading.value.as_deref().copied()
    };
    sleep(S(9)).await;
    assert_eq!((look("a").await, look("b").await), (Some(1), Some(1)));
    sleep(S(1)).await;
    assert_eq!((look("a").await, look("b").await), (None, Some(1)));
    sleep(S(10)).await;
    assert_eq!((look("b").await, copy.len()), (None, 0));
}

/// A source that is another one from some moment on, as after a restore under the same name.
#[derive(Clone)]
struct Swapped(Arc<Mutex<Store>>);

impl Source<String, u32> for Swapped {
    fn name(&self) -> String {
        "swapped".to_owned()
    }

    fn open(&self, start: Start) -> Session<String, u32> {
        let store = self.0.lock().expect("nobody panics").clone();
        StoreSource::new(store, "k/").open(start)
    }
}

/// The same commits, so the same positions.
async fn restored(commits: &[(&str, &str)]) -> Store {
    let store = MemoryStore::new().into_store();
    for (key, value) in commits {
        let batch = Batch::new().put(*key, (*value).to_owned());
        store.commit(batch).await.expect("a commit");
    }
    store
}

/// REP-3: a store that has gone back is seen, begins another epoch, and the copy is what the store is.
#[tokio::test(start_paused = true)]
async fn a_restored_store_begins_another_epoch() {
    let store = restored(&[(EPOCH, "1000"), ("k/a", "1"), ("k/a", "2"), ("k/b", "3")]).await;
    let source = Swapped(Arc::new(Mutex::new(store)));
    let heard = Heard::default();
    let builder = Replica::builder(source.clone())
        .clock(Clock::tokio())
        .on_event(heard.hear());
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    assert_eq!(copy.version(), Some(Version::new(1_000, 4)));

    // The connection to the old one breaks, and there is the backup.
    let backup = restored(&[(EPOCH, "1000"), ("k/a", "1")]).await;
    *source.0.lock().expect("nobody panics") = backup.clone();
    let stuck = copy.get("a", MaxAge::ANY).await.expect("a reading");
    assert_eq!(stuck.version.epoch, 1_000);
    copy.stop().await;

    // A process with what was on its disk.
    let held = Some(Version::new(1_000, 4));
    let again = Resumes {
        inner: source,
        held,
    };
    let copy = copy_of(again).await;
    let version = copy.version().expect("a copy");
    assert!(version.epoch > 1_000, "{version}");
    assert_eq!((value(&copy, "a"), value(&copy, "b")), (Some(1), None));
    let written = backup.get(EPOCH).await.expect("a look").expect("an epoch");
    assert_eq!(written.value, version.epoch.to_string());
}

/// As if the copy held a version.
struct Resumes {
    inner: Swapped,
    held: Option<Version>,
}

impl Source<String, u32> for Resumes {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn open(&self, mut start: Start) -> Session<String, u32> {
        start.held = start.held.or(self.held);
        self.inner.open(start)
    }
}

/// REP-3: a value that can't be read ends the session, and is named; the copy stays as it was.
#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_is_named() {
    let store = MemoryStore::new().into_store();
    put(&store, "k/a", 1).await;
    let heard = Heard::default();
    let source = StoreSource::<String, u32>::new(store.clone(), "k/");
    let builder = Replica::builder(source)
        .clock(Clock::tokio())
        .on_event(heard.hear());
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    let bad = Batch::new().put("k/b", "no number");
    store.commit(bad).await.expect("a commit");
    sleep(S(60)).await;
    assert_eq!(value(&copy, "a"), Some(1));
    assert!(copy.age().expect("a copy") >= S(59));
    let ends = heard.ends();
    let said = ends.first().expect("an end").to_string();
    assert_eq!(said, "the value of the key \"b\" can't be read");

    let raw = StoreSource::with_codec(store, "k/", Codec::bytes());
    let copy: Replica<String, Vec<u8>> = Replica::builder(raw)
        .clock(Clock::tokio())
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    let reading = copy.peek("b").expect("a reading");
    assert_eq!(
        reading.value.as_deref().map(Vec::as_slice),
        Some(&b"no number"[..])
    );
    copy.stop().await;
}

/// REP-3: a codec that panics ends the session, and not the copy.
#[tokio::test(start_paused = true)]
async fn a_panic_ends_the_session() {
    let store = MemoryStore::new().into_store();
    put(&store, "k/a", 1).await;
    let heard = Heard::default();
    let careless = |value: &[u8]| Ok(std::str::from_utf8(value)?.parse().expect("a number"));
    let codec = Codec::<String, u32>::new(|name| Ok(name.to_owned()), careless);
    let source = StoreSource::with_codec(store.clone(), "k/", codec);
    let builder = Replica::builder(source)
        .clock(Clock::tokio())
        .on_event(heard.hear());
    let built = builder.build().expect("options");
    let copy = built.start().await.expect("a copy");
    let bad = Batch::new().put("k/b", "no number");
    store.commit(bad).await.expect("a commit");
    sleep(S(60)).await;
    assert_eq!(value(&copy, "a"), Some(1));
    let said = heard.ends().first().expect("an end").to_string();
    assert_eq!(said, "the source has panicked");
    put(&store, "k/b", 2).await;
    sleep(S(60)).await;
    assert_eq!((value(&copy, "b"), heard.synced().len()), (Some(2), 1));
}
