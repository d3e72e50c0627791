//! STO-1, STO-3: the user's own rows in the same transaction.

use std::sync::Arc;
use std::time::Duration;

use backstay_store::postgres::tokio_postgres::{Error, Transaction};
use backstay_store::postgres::{CommitWithError, PostgresOptions};
use backstay_store::{
    Append, Batch, BatchId, CommitError, Event, Expected, Position, PostgresStore, Put,
};
use futures_util::future::{BoxFuture, pending};
use tokio::sync::Notify;

use super::server::{Schema, runs};

/// A store with one connection for such work, so that a spoiled one would be met again.
async fn opened(work_timeout: Duration) -> Option<(Schema, PostgresStore)> {
    let schema = Schema::new()?;
    let options = PostgresOptions::new().pool(1).work_timeout(work_timeout);
    let store = schema.open_with(options).await;
    schema.run("CREATE TABLE S.rows (number int8)").await;
    Some((schema, store))
}

fn batch() -> Batch {
    let event = Append::new(Event::new("happened", ""));
    Batch::new().append("stream", event.expecting(Expected::Absent))
}

/// Has the compiler take a closure for work.
fn work<F>(work: F) -> F
where
    F: for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<(), Error>> + Send + Sync,
{
    work
}

/// STO-1: the batch may say what came of the work, and is refused with it.
#[tokio::test]
async fn a_batch_is_made_of_the_work() {
    let Some((schema, store)) = opened(Duration::from_secs(60)).await else {
        return;
    };
    let insert = schema.named("INSERT INTO S.rows VALUES (7) RETURNING number");
    let commit = |id| {
        store.commit_from(id, |rows| {
            let insert = insert.clone();
            Box::pin(async move {
                let number: i64 = rows.query_one(&insert, &[]).await?.try_get(0)?;
                let put = Put::new(number.to_string()).expecting(Expected::Absent);
                Ok::<_, Error>((Batch::new().put("last", put), number))
            })
        })
    };
    let id = BatchId::new();
    let done = commit(id).await.expect("a commit");
    assert_eq!((done.commit.id, done.output), (id, Some(7)));
    let last = store.get("last").await.expect("a read").expect("a value");
    assert_eq!(last.value, "7");
    let again = commit(id).await.expect("it is there");
    assert_eq!((again.commit, again.output), (done.commit, None));
    let refused = commit(BatchId::new()).await.expect_err("the key is there");
    assert!(
        matches!(refused, CommitWithError::Commit(CommitError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(schema.rows().await, 1);
}

/// STO-1: rows and batch are there together, once, or neither is.
#[tokio::test]
async fn rows_and_batch_are_committed_together() {
    let Some((schema, store)) = opened(Duration::from_secs(60)).await else {
        return;
    };
    let insert = schema.named("INSERT INTO S.rows VALUES (1)");
    let first = batch();
    let done = store.commit_with(first.clone(), runs(&insert)).await;
    let done = done.expect("a commit");
    assert_eq!((done.output, schema.rows().await), (Some(()), 1));
    assert_eq!(store.find(first.id()).await, Ok(Some(done.commit.clone())));

    let again = store
        .commit_with(first, runs(&insert))
        .await
        .expect("it is there");
    assert_eq!((again.commit, again.output), (done.commit, None));
    let refused = store.commit_with(batch(), runs(&insert)).await;
    assert!(
        matches!(
            refused,
            Err(CommitWithError::Commit(CommitError::Conflict(_)))
        ),
        "{refused:?}"
    );
    assert_eq!(
        (schema.rows().await, store.head().await),
        (1, Ok(Position::new(1)))
    );
}

/// STO-1, STO-3: work that fails, hangs, panics or ends the transaction leaves nothing of the batch, and no connection
/// that is of no use to the next.
#[tokio::test]
async fn work_that_goes_wrong_leaves_nothing() {
    let Some((schema, store)) = opened(Duration::from_millis(200)).await else {
        return;
    };
    let insert = schema.named("INSERT INTO S.rows VALUES (1)");
    let failed = store
        .commit_with(batch(), runs(&format!("{insert}; SELECT 1 / 0")))
        .await;
    assert!(
        matches!(failed, Err(CommitWithError::Work(_))),
        "{failed:?}"
    );

    let slow = store
        .commit_with(batch(), runs(&format!("{insert}; SELECT pg_sleep(60)")))
        .await;
    assert!(
        matches!(slow, Err(CommitWithError::TookTooLong { limit }) if limit.as_millis() == 200),
        "{slow:?}"
    );
    let hangs = work(|_| Box::pin(pending()));
    let hung = store.commit_with(batch(), hangs).await;
    assert!(
        matches!(hung, Err(CommitWithError::TookTooLong { .. })),
        "{hung:?}"
    );

    let panics = work(|_| Box::pin(async { panic!("on purpose") }));
    let panicked = store.commit_with(batch(), panics).await;
    assert!(
        matches!(panicked, Err(CommitWithError::Panicked)),
        "{panicked:?}"
    );

    let ended = store.commit_with(batch(), runs("COMMIT")).await;
    assert!(matches!(ended, Err(CommitWithError::Ended)), "{ended:?}");
    let ended = store.commit_with(batch(), runs("COMMIT; BEGIN")).await;
    assert!(matches!(ended, Err(CommitWithError::Ended)), "{ended:?}");

    // It does not tell of a statement that has failed.
    let hides = work(|rows| {
        Box::pin(async move {
            drop(rows.batch_execute("SELECT 1 / 0").await);
            Ok(())
        })
    });
    let hidden = store.commit_with(batch(), hides).await;
    assert!(
        matches!(
            hidden,
            Err(CommitWithError::Commit(CommitError::Unavailable(_)))
        ),
        "{hidden:?}"
    );
    assert_eq!(
        (schema.rows().await, store.head().await),
        (0, Ok(Position::START))
    );
    store
        .commit_with(batch(), runs(&insert))
        .await
        .expect("a commit");
    assert_eq!(schema.rows().await, 1);
}

/// STO-3: work holds up nobody else's writes, and when its future is dropped its transaction goes with it.
#[tokio::test]
async fn dropped_work_is_rolled_back() {
    let Some((schema, store)) = opened(Duration::from_secs(60)).await else {
        return;
    };
    let insert = schema.named("INSERT INTO S.rows VALUES (1)");
    let begun = Arc::new(Notify::new());
    let begins = begun.clone();
    let hangs = work(move |rows| {
        let (insert, begins) = (insert.clone(), begins.clone());
        Box::pin(async move {
            rows.batch_execute(&insert).await?;
            begins.notify_one();
            pending().await
        })
    });
    {
        let mut working = std::pin::pin!(store.commit_with(batch(), hangs));
        let other = Batch::new().put("key", "value");
        let meanwhile = async {
            begun.notified().await;
            store.commit(other).await
        };
        let meanwhile = std::pin::pin!(meanwhile);
        let first = futures_util::future::select(&mut working, meanwhile).await;
        let futures_util::future::Either::Right((committed, _)) = first else {
            panic!("the work has ended");
        };
        committed.expect("nobody holds it up");
    }
    store
        .commit_with(batch(), runs(""))
        .await
        .expect("a commit");
    assert_eq!(schema.rows().await, 0);
}
