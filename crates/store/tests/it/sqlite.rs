//! STO-9: it does what every backend has to do.

use backstay_store::conformance::{START, Subject};
use backstay_store::sqlite::SqliteOptions;
use backstay_store::{Batch, Change, Expected, Position, Put, Store, TestClock, WatchError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::time::Duration;
use tempfile::TempDir;

struct Sqlite {
    folder: TempDir,
    clock: TestClock,
}

impl Sqlite {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            clock: TestClock::at(START),
        }
    }
}

impl Subject for Sqlite {
    fn open(&self) -> BoxFuture<'_, Store> {
        async {
            let options = SqliteOptions::new().clock(self.clock.clone());
            let opened = options.open(self.folder.path().join("store.db")).await;
            opened.expect("a store").store()
        }
        .boxed()
    }

    fn clock(&self) -> TestClock {
        self.clock.clone()
    }
}

backstay_store::conformance!(Sqlite::new());

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn expiring(keys: std::ops::Range<u32>) -> Batch {
    keys.fold(Batch::new(), |batch, key| {
        batch.put(
            format!("k/{key:05}"),
            Put::new("v").expires_after(Duration::from_secs(1)),
        )
    })
}

/// What is swept is swept in parts, and all of it.
#[tokio::test]
async fn all_that_has_expired_is_swept() {
    let subject = Sqlite::new();
    let store = subject.open().await;
    for part in 0..5 {
        let batch = expiring(part * 500..(part + 1) * 500);
        store.commit(batch).await.expect("a commit");
    }
    subject.clock().advance(Duration::from_secs(1));
    assert_eq!(store.sweep().await, Ok(2_500));
    assert_eq!(store.sweep().await, Ok(0));
}

/// It sweeps by itself, also while others write all the time.
#[tokio::test]
async fn it_sweeps_while_others_write() {
    let subject = Sqlite::new();
    let store = subject.open().await;
    let first = store.commit(expiring(0..1)).await.expect("a commit");
    subject.clock().advance(Duration::from_secs(61));
    let mut watch = store.watch("k/", first.position);
    let write = async {
        loop {
            let put = Batch::new().put("other", "v");
            store.commit(put).await.expect("a commit");
        }
    };
    let swept = backstay_store::conformance::in_time(async {
        tokio::select! {
            changes = watch.next() => {
                let changes: Vec<Change> = changes.expect("a change");
                assert_eq!(changes[0].value, None);
            }
            () = write => {}
        }
    });
    swept.await;
}

/// STO-5: what is forgotten is said to be, so that nobody takes a watch for whole that is not.
#[tokio::test]
async fn a_watch_that_would_miss_a_deletion_says_so() {
    let subject = Sqlite::new();
    let store = subject.open().await;
    let put = Batch::new().put("gone", "v").put("kept", "v");
    let put = store.commit(put).await.expect("a commit");
    let gone = Batch::new().delete("gone", Expected::Any);
    let gone = store.commit(gone).await.expect("a commit");
    subject.clock().advance(DAY);
    store.sweep().await.expect("a sweep");
    let changes = store.watch("", put.position).next().await.expect("changes");
    assert_eq!(changes[0].key, "gone", "a day is not over yet");

    subject.clock().advance(Duration::from_millis(1));
    store.sweep().await.expect("a sweep");
    for from in [Position::START, put.position] {
        let forgotten = store.watch("", from).next().await;
        let until = gone.position;
        assert_eq!(forgotten, Err(WatchError::Forgotten { until }));
    }
    let mut watch = store.watch("", gone.position);
    let late = Batch::new().put("late", "v");
    store.commit(late).await.expect("a commit");
    assert_eq!(watch.next().await.expect("changes")[0].key, "late");
    // The clock of this test is ahead of the one that the ids of its batches were made by.
    assert_eq!(store.find(put.id).await, Ok(None));
}

/// STO-8: many who open a new file at once make it once, and wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_open_a_new_file_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..16 {
            opening.spawn(backstay_store::SqliteStore::open(path.clone()));
        }
        for opened in opening.join_all().await {
            opened.expect("a store");
        }
    }
}
