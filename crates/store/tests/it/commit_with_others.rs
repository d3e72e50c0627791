//! The user's code on the thread that writes, and what it may do to all others.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_store::conformance::in_time;
use backstay_store::sqlite::rusqlite::{Connection, Error, Transaction};
use backstay_store::sqlite::{CommitWithError, SqliteOptions};
use backstay_store::{Batch, Expected, Position, Put, SqliteStore};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

async fn store() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("store.db")).await;
    (folder, store.expect("a store"))
}

/// Work that runs, and goes on when it is told to. Meanwhile what others ask for gathers.
async fn held_up(store: &SqliteStore) -> Sender<()> {
    held_up_with(store, || Ok::<_, Infallible>(())).await.0
}

/// The same with what comes of it, and the task that waits for that.
async fn held_up_with<T: Send + 'static, E: Send + 'static>(
    store: &SqliteStore,
    ends: impl Fn() -> Result<T, E> + Send + 'static,
) -> (Sender<()>, JoinHandle<()>) {
    let (go_on, told) = mpsc::channel();
    let (runs, running) = oneshot::channel();
    let runs = Mutex::new(Some(runs));
    let work = move |_: &Transaction<'_>| {
        if let Some(runs) = runs.lock().expect("no panic").take() {
            runs.send(()).expect("somebody waits");
        }
        // Its end is all that is waited for.
        let _ = told.recv();
        ends()
    };
    let store = store.clone();
    let asks = tokio::spawn(async move { drop(store.commit_with(Batch::new(), work).await) });
    running.await.expect("it runs");
    (go_on, asks)
}

/// Panics when it is dropped on the thread that writes.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if std::thread::current().name() == Some("backstay-store") {
            std::panic::panic_any(Self);
        }
    }
}

/// STO-3: what of the user's panics when it is dropped does not end the thread that writes: work, its output or its error,
/// used or not, or what nobody wants any more.
#[tokio::test]
async fn a_panic_in_a_drop_harms_nobody_else() {
    let (_folder, store) = store().await;
    let put = |value: &'static str| Batch::new().put("key", value);
    let bomb = Bomb;
    let done = store.commit_with(put("1"), move |_| {
        let _ = &bomb;
        Ok::<_, Infallible>(())
    });
    assert!(done.await.is_ok(), "what came of it is told before");
    store.commit(put("2")).await.expect("the store goes on");

    let refused = Batch::new().put("key", Put::new("3").expecting(Expected::Absent));
    let refused = store.commit_with(refused, |_| Ok::<_, Infallible>(Bomb));
    let refused = refused.await;
    assert!(
        matches!(refused, Err(CommitWithError::Panicked)),
        "its output panicked when it was dropped"
    );
    store.commit(put("4")).await.expect("the store goes on");

    // These are dropped before they run.
    let go_on = held_up(&store).await;
    let unwanted = store.commit_with(put("5"), |_| Ok::<_, Infallible>(Bomb));
    assert!(unwanted.now_or_never().is_none());
    let bomb = Bomb;
    let unwanted = store.commit_with(put("6"), move |_| {
        let _ = &bomb;
        Ok::<_, Infallible>(())
    });
    assert!(unwanted.now_or_never().is_none());
    go_on.send(()).expect("it waits");
    store.commit(put("7")).await.expect("the store goes on");
    // And this one after it has run.
    let (go_on, asks) = held_up_with(&store, || Err::<(), _>(Bomb)).await;
    asks.abort();
    asks.await.expect_err("nobody wants it any more");
    go_on.send(()).expect("it waits");
    store.commit(put("9")).await.expect("the store goes on");
    let value = store.get("key").await.expect("a read").expect("a value");
    assert_eq!(value.value, "9");
}

/// How many transactions commit this much work, of which each part takes 100 ms, when all of it waits at once.
async fn transactions(store: &SqliteStore, works: u64) -> usize {
    let go_on = held_up(store).await;
    let heads = Arc::new(Mutex::new(BTreeSet::new()));
    let (path, seen) = (store.path().to_owned(), heads.clone());
    let work = move |_: &Transaction<'_>| -> Result<(), Error> {
        // What another process sees: it changes with each transaction.
        let beside = Connection::open(&path)?;
        let head: i64 =
            beside.query_row("SELECT head FROM backstay_state", [], |row| row.get(0))?;
        seen.lock().expect("no panic").insert(head);
        let (_never, told) = mpsc::channel::<()>();
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err());
        Ok(())
    };
    let works = (0..works).map(|number| {
        let put = Batch::new().put(format!("k/{number}"), "v");
        Box::pin(store.commit_with(put, work.clone()))
    });
    let mut works = join_all(works);
    assert!((&mut works).now_or_never().is_none(), "all of it waits");
    go_on.send(()).expect("it waits");
    for done in works.await {
        done.expect("a commit");
    }
    let heads = heads.lock().expect("no panic");
    heads.len()
}

/// STO-3: work that takes long together is committed in several transactions, between which other processes write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_work_is_divided_and_others_come_in_between() {
    let (_folder, store) = store().await;
    let other = SqliteOptions::new().busy_timeout(Duration::from_secs(60));
    let other = other.open(store.path()).await.expect("a store");
    let beside = tokio::spawn(async move {
        let mut watch = other.watch("k/", Position::START);
        watch.next().await.expect("the first is there");
        other.commit(Batch::new().put("other", "v")).await
    });
    let transactions = transactions(&store, 20).await;
    assert!(transactions >= 6, "three at most in one: {transactions}");
    let commit = beside.await.expect("no panic").expect("a commit");
    let last = store.get("k/19").await.expect("a read").expect("a value");
    assert!(commit.position < last.revision, "it did not wait for all");
}

/// STO-3: large batches that gather are committed in several transactions.
#[tokio::test]
async fn large_batches_are_divided() {
    let (_folder, store) = store().await;
    let go_on = held_up(&store).await;
    let commits = (0..20).map(|number| {
        let value = vec![7; 1 << 20];
        Box::pin(store.commit(Batch::new().put(format!("k/{number}"), value)))
    });
    let mut commits = join_all(commits);
    assert!((&mut commits).now_or_never().is_none(), "all wait");
    // The log grows with each transaction and not in one.
    let heads = async {
        let mut heads = BTreeSet::new();
        while heads.last().is_none_or(|head| *head < 20) {
            heads.insert(store.head().await.expect("a read").get());
        }
        heads
    };
    go_on.send(()).expect("it waits");
    let (commits, heads) = tokio::join!(commits, heads);
    assert!(commits.iter().all(Result::is_ok), "{commits:?}");
    assert!(heads.len() > 2, "{heads:?}");
}

/// STO-3: who makes SQLite give up the transaction again and again has nobody run more than once for each time.
#[tokio::test]
async fn lost_transactions_are_not_repeated_for_all() {
    let (_folder, store) = store().await;
    let table = "CREATE TABLE taken (id INTEGER PRIMARY KEY); INSERT INTO taken VALUES (1)";
    let made = store.commit_with(Batch::new(), |rows| rows.execute_batch(table));
    made.await.expect("a table");
    let go_on = held_up(&store).await;
    let runs = Arc::new(Mutex::new(0));
    let mut works = Vec::new();
    for number in 0..20 {
        let runs = runs.clone();
        let work = move |rows: &Transaction<'_>| {
            *runs.lock().expect("no panic") += 1;
            if number % 2 == 1 {
                rows.execute("INSERT OR ROLLBACK INTO taken VALUES (1)", [])?;
            }
            Ok::<_, Error>(())
        };
        let put = Batch::new().put(format!("k/{number}"), "v");
        works.push(Box::pin(store.commit_with(put, work)));
    }
    let mut works = join_all(works);
    assert!((&mut works).now_or_never().is_none(), "all wait");
    go_on.send(()).expect("it waits");
    in_time(async {
        for (number, done) in works.await.into_iter().enumerate() {
            assert_eq!(done.is_ok(), number % 2 == 0, "{number}");
        }
    })
    .await;
    assert_eq!(*runs.lock().expect("no panic"), 30, "twice at most");
}
