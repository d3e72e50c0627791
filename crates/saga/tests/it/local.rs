//! Steps in rows of the store's own file.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_saga::{Attempt, Cx, Engine, Retry, Saga, Settled, StepError, UndoError, Version};
use backstay_store::sqlite::rusqlite::{self, OptionalExtension};
use backstay_store::{
    Batch, BatchId, Cause, CommitWithError, CommittedWith, Effect, SqliteStore, Store,
    Transactional, Unavailable,
};
use tempfile::TempDir;
use tokio::time::sleep;

type Context = Cx<SqliteStore, u32>;
type Made = Saga<SqliteStore, u32, i64>;

/// Takes one of what is there.
async fn reserve(cx: Context) -> Result<i64, StepError> {
    let store = cx.app().clone();
    let work = |rows: &rusqlite::Transaction<'_>| {
        let taken = "UPDATE stock SET left = left - 1 WHERE left > 0 RETURNING left";
        let left = rows.query_row(taken, [], |row| row.get(0)).optional()?;
        left.ok_or_else(|| StepError::failed("sold out"))
    };
    cx.commit_with(&store, work).await
}

/// Puts it back.
async fn release(cx: Context, attempt: Attempt<i64>) -> Result<(), UndoError> {
    assert!(
        matches!(attempt, Attempt::Done(_)),
        "local steps are never unknown"
    );
    let store = cx.app().clone();
    let work = |rows: &rusqlite::Transaction<'_>| {
        rows.execute("UPDATE stock SET left = left + 1", [])?;
        Ok(())
    };
    let undone = cx.commit_with(&store, work).await;
    undone.map_err(|error| UndoError::again(error.to_string()))
}

/// Every third is refused.
async fn charge(cx: Context, left: i64) -> Result<i64, StepError> {
    sleep(Duration::from_millis(u64::from(*cx.input() % 7))).await;
    if cx.input().is_multiple_of(3) {
        return Err(StepError::failed("no money"));
    }
    Ok(left)
}

fn saga() -> Made {
    let saga = Saga::builder("sale", Version(1));
    let reserved = saga.step("reserve", reserve).undo(release);
    let paid = saga.step("charge", charge).needs(reserved).pivot();
    saga.build(paid).unwrap()
}

async fn stock(folder: &TempDir, left: i64) -> SqliteStore {
    let store = SqliteStore::open(folder.path().join("stock.db"))
        .await
        .unwrap();
    let make = move |rows: &rusqlite::Transaction<'_>| {
        rows.execute_batch("CREATE TABLE stock (left INTEGER NOT NULL)")?;
        rows.execute("INSERT INTO stock VALUES (?1)", [left])
    };
    store.commit_with(Batch::new(), make).await.unwrap();
    store
}

async fn left(store: &SqliteStore) -> i64 {
    let read = |rows: &rusqlite::Transaction<'_>| {
        rows.query_row("SELECT left FROM stock", [], |row| row.get(0))
    };
    let read: Result<_, backstay_store::CommitWithError<rusqlite::Error>> =
        store.commit_with(Batch::new(), read).await;
    read.unwrap().output.unwrap()
}

/// SAG-2: rows and the step's result are committed together, so they happen once however often workers are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_result_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = stock(&folder, 1_000).await;
    let saga = saga();
    let start = async || {
        let engine = Engine::builder(store.clone(), store.clone()).run(&saga);
        engine
            .ttl(Duration::from_millis(300))
            .start()
            .await
            .unwrap()
    };
    for round in 0..5 {
        let engine = start().await;
        for number in 0..60 {
            let number = round * 60 + number;
            engine
                .start(&saga, &number.to_string(), number)
                .await
                .unwrap();
        }
        sleep(Duration::from_millis(3)).await;
        // Nothing is given back, as after kill -9.
        drop(engine);
    }
    let engine = start().await;
    let (mut done, mut parked) = (0, 0);
    for number in 0..300 {
        let handle = engine
            .start(&saga, &number.to_string(), number)
            .await
            .unwrap();
        match handle.settled().await.unwrap() {
            Settled::Done(_) => done += 1,
            Settled::Undone(_) => {}
            // The charge was lost once and then refused.
            Settled::Parked(_) => parked += 1,
            settled => panic!("{settled:?}"),
        }
    }
    assert_eq!(left(&store).await, 1_000 - done - parked);
    assert_eq!(done, 200);
}

/// What the work refuses fails the step, and nothing of it is there.
#[tokio::test]
async fn what_the_work_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let store = stock(&folder, 1).await;
    let saga = saga();
    let engine = Engine::builder(store.clone(), store.clone())
        .run(&saga)
        .start()
        .await
        .unwrap();
    let one = engine
        .start(&saga, "1", 1)
        .await
        .unwrap()
        .settled()
        .await
        .unwrap();
    assert_eq!(one, Settled::Done(0));
    let two = engine
        .start(&saga, "2", 2)
        .await
        .unwrap()
        .settled()
        .await
        .unwrap();
    let Settled::Undone(why) = two else {
        panic!("{two:?}")
    };
    assert_eq!(why.to_string(), "step \"reserve\" can't be done: sold out");
    assert_eq!(left(&store).await, 0);
}

async fn wrong_type(cx: Context) -> Result<i64, StepError> {
    let store = cx.app().clone();
    cx.commit_with(
        &store,
        |_: &rusqlite::Transaction<'_>| Ok("text".to_owned()),
    )
    .await?;
    Ok(1)
}

async fn other_store(cx: Context) -> Result<i64, StepError> {
    let folder = tempfile::tempdir()?;
    let other = SqliteStore::open(folder.path().join("other.db")).await?;
    cx.commit_with(&other, |_: &rusqlite::Transaction<'_>| Ok(1))
        .await
}

/// A mistake is told, and not committed.
#[tokio::test]
async fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = stock(&folder, 1).await;
    let saga = |name: &str, which: bool| -> Made {
        let saga = Saga::builder(name, Version(1));
        let one = if which {
            saga.step("one", wrong_type).nothing_to_undo()
        } else {
            saga.step("one", other_store).nothing_to_undo()
        };
        saga.build(one).unwrap()
    };
    let (typed, stored) = (saga("typed", true), saga("stored", false));
    let engine = Engine::builder(store.clone(), store.clone())
        .run(&typed)
        .run(&stored);
    let engine = engine.start().await.unwrap();
    for (saga, told) in [
        (&typed, "commit_with has to answer what the step does"),
        (&stored, "the store is not the one that the engine runs on"),
    ] {
        let settled = engine
            .start(saga, "1", 1)
            .await
            .unwrap()
            .settled()
            .await
            .unwrap();
        let Settled::Undone(why) = settled else {
            panic!("{settled:?}")
        };
        assert_eq!(
            why.to_string(),
            format!("step \"one\" can't be done: {told}")
        );
    }
}

/// A store that commits rows and loses the replies of the next few.
#[derive(Clone, Debug)]
struct Lossy {
    store: SqliteStore,
    losses: Arc<AtomicU32>,
    /// What `commit_with` has answered, each time.
    answers: Arc<Mutex<Vec<String>>>,
}

impl Lossy {
    fn new(store: &SqliteStore, losses: u32) -> Self {
        Self {
            store: store.clone(),
            losses: Arc::new(AtomicU32::new(losses)),
            answers: Arc::default(),
        }
    }

    fn answers(&self) -> Vec<String> {
        self.answers.lock().unwrap().clone()
    }

    /// Commits a change of the stock, and notes the answer, if there is one: where all is well the call ends with the commit.
    async fn change(&self, cx: Cx<Self, u32>, by: i64) -> Result<i64, StepError> {
        let work = move |rows: &rusqlite::Transaction<'_>| {
            let change = "UPDATE stock SET left = left + ?1 RETURNING left";
            Ok(rows.query_row(change, [by], |row| row.get::<_, i64>(0))?)
        };
        let answer = cx.commit_with(self, work).await;
        let told = match &answer {
            Ok(left) => left.to_string(),
            Err(error) => error.to_string(),
        };
        self.answers.lock().unwrap().push(told);
        answer
    }
}

impl Transactional for Lossy {
    type Rows<'t> = rusqlite::Transaction<'t>;
    type Worked<'t, O, E> = Result<O, E>;

    fn store(&self) -> Store {
        Transactional::store(&self.store)
    }

    async fn commit_made<O, E, T, F>(
        &self,
        id: BatchId,
        work: impl for<'t> Fn(&'t rusqlite::Transaction<'t>) -> Result<O, E> + Send + Sync + 'static,
        made: impl Fn(O) -> Result<(Batch, T), F> + Send + Sync + 'static,
    ) -> Result<CommittedWith<T>, CommitWithError<F>>
    where
        O: Send + 'static,
        E: Send + 'static,
        T: Send + 'static,
        F: From<E> + Send + 'static,
    {
        let answer = self.store.commit_made(id, work, made).await;
        let lose = |left: u32| left.checked_sub(1);
        if answer.is_ok() && self.losses.fetch_update(SeqCst, SeqCst, lose).is_ok() {
            return Err(Unavailable::new(Cause::Storage, Effect::Unknown).into());
        }
        answer
    }
}

/// Runs one instance of a saga on a stock of ten, and says what is left.
async fn on_ten(saga: &Saga<Lossy, u32, i64>, losses: u32) -> (Settled<i64>, i64, Lossy) {
    let folder = tempfile::tempdir().unwrap();
    let store = stock(&folder, 10).await;
    let lossy = Lossy::new(&store, losses);
    let engine = Engine::builder(store.clone(), lossy.clone()).run(saga);
    let engine = engine.start().await.unwrap();
    let handle = engine.start(saga, "1", 1).await.unwrap();
    let settled = handle.settled().await.unwrap();
    (settled, left(&store).await, lossy)
}

async fn take(cx: Cx<Lossy, u32>) -> Result<i64, StepError> {
    let lossy = cx.app().clone();
    lossy.change(cx, -1).await
}

async fn take_more(cx: Cx<Lossy, u32>, _left: i64) -> Result<i64, StepError> {
    take(cx).await
}

/// SAG-2: a commit whose reply was lost is found, and what it came to is the step's output.
#[tokio::test]
async fn a_lost_reply_of_rows() {
    let saga = Saga::builder("lossy", Version(1));
    let one = saga.step("one", take).nothing_to_undo();
    let two = saga.step("two", take_more).needs(one).nothing_to_undo();
    let saga = saga.build(two).unwrap();
    for losses in 0..4 {
        let (settled, left, lossy) = on_ten(&saga, losses).await;
        assert_eq!(settled, Settled::Done(8), "{losses}");
        assert_eq!(left, 8, "{losses}");
        let answers = lossy.answers();
        assert!(
            answers.iter().all(|told| told == "9" || told == "8"),
            "{answers:?}"
        );
    }
}

const TIME: Duration = Duration::from_millis(50);

/// The first attempt's commit comes when its time is over, from a task that outlives it.
async fn take_late(cx: Cx<Lossy, u32>) -> Result<i64, StepError> {
    if cx.attempt() > 1 {
        return take(cx).await;
    }
    tokio::spawn(async move {
        sleep(3 * TIME).await;
        take(cx).await
    });
    std::future::pending().await
}

async fn put_back(cx: Cx<Lossy, u32>, attempt: Attempt<i64>) -> Result<(), UndoError> {
    assert_eq!(attempt, Attempt::Unknown);
    // It is still being undone when the late commit comes.
    sleep(5 * TIME).await;
    drop(cx);
    Ok(())
}

/// SAG-2: rows of an attempt that is over are refused while another attempt waits to begin or has done the step.
#[tokio::test]
async fn late_rows_beside_another_attempt() {
    let saga = Saga::builder("late", Version(1));
    let retry = Retry::attempts(2);
    let one = saga.step("one", take_late).timeout(TIME).retry(retry);
    let one = one.nothing_to_undo();
    // It keeps the instance here until the late rows come.
    saga.sleep("rest", 10 * TIME).after(one).nothing_to_undo();
    let saga = saga.build(one).unwrap();
    let (settled, left, lossy) = on_ten(&saga, 0).await;
    assert_eq!(settled, Settled::Done(9));
    assert_eq!(left, 9);
    assert_eq!(lossy.answers(), ["the attempt is over"]);
}

/// SAG-2: rows of an attempt that is over are refused while its step is undone, and leave nothing.
#[tokio::test]
async fn late_rows_beside_an_undo() {
    let saga = Saga::builder("late", Version(1));
    let one = saga
        .step("one", take_late)
        .timeout(TIME)
        .not_idempotent()
        .undo(put_back);
    let saga = saga.build(one).unwrap();
    let (settled, left, lossy) = on_ten(&saga, 0).await;
    assert!(matches!(settled, Settled::Undone(_)), "{settled:?}");
    assert_eq!(left, 10);
    assert_eq!(lossy.answers(), ["the attempt is over"]);
}
