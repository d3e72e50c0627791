//! Steps in rows of the store's own file.

use std::time::Duration;

use backstay_saga::{Attempt, Cx, Engine, Saga, Settled, StepError, UndoError, Version};
use backstay_store::sqlite::rusqlite::{self, OptionalExtension};
use backstay_store::{Batch, SqliteStore};
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
