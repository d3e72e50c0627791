//! STO-1: what an error says about what may have happened.

use std::time::Duration;

use backstay_store::postgres::{CommitWithError, PostgresOptions};
use backstay_store::{Batch, Cause, CommitError, Effect, Event, Position, Version};
use test_servers::OwnServer;

use super::server::{Schema, open, runs};

fn batch() -> Batch {
    Batch::new().append("stream", Event::new("happened", ""))
}

/// STO-1: when the connection is lost in `COMMIT` nobody knows, and the same batch can be tried again.
#[tokio::test]
async fn a_connection_lost_in_commit_is_an_unknown_effect() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open().await;
    schema
        .run(
            "CREATE FUNCTION S.die() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'; \
             CREATE CONSTRAINT TRIGGER die AFTER INSERT ON S.events \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION S.die()",
        )
        .await;
    let batch = batch();
    let lost = store.commit(batch.clone()).await;
    let Err(CommitError::Unavailable(unavailable)) = lost else {
        panic!("{lost:?}");
    };
    assert_eq!(unavailable.effect(), Effect::Unknown);
    schema.run("DROP TRIGGER die ON S.events").await;
    let commit = store.commit(batch.clone()).await.expect("a commit");
    assert_eq!(store.commit(batch).await, Ok(commit));
    let events = store.read("stream", Version::START, 10).await;
    assert_eq!(events.expect("a read").len(), 1);
}

/// STO-1: a lock that others hold is waited for in bounds, and nothing has happened.
#[tokio::test]
async fn a_lock_that_is_held_is_not_waited_for_without_end() {
    let Some(schema) = Schema::new() else { return };
    let options = PostgresOptions::new().statement_timeout(Duration::from_millis(200));
    let store = schema.open_with(options).await;
    let stranger = schema.stranger().await;
    let lock = schema.named("BEGIN; SELECT FROM S.state FOR UPDATE");
    stranger.batch_execute(&lock).await.expect("the lock");
    let busy = store.commit(batch()).await;
    let Err(CommitError::Unavailable(unavailable)) = busy else {
        panic!("{busy:?}");
    };
    assert_eq!(unavailable.cause(), Cause::Busy);
    assert_eq!(unavailable.effect(), Effect::NotExecuted);
    assert_eq!(store.head().await, Ok(Position::START), "reads do not wait");
    stranger.batch_execute("ROLLBACK").await.expect("no lock");
    assert!(store.commit(batch()).await.is_ok());
}

/// STO-3: a future that is dropped while it waits for the lock takes no lock afterwards.
#[tokio::test]
async fn a_dropped_future_leaves_no_transaction_open() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open_with(PostgresOptions::new().pool(1)).await;
    let stranger = schema.stranger().await;
    let lock = schema.named("BEGIN; SELECT FROM S.state FOR UPDATE");
    stranger.batch_execute(&lock).await.expect("the lock");
    let watcher = schema.stranger().await;
    let sql = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1";
    let ours = format!("%{}%", schema.name);
    let waits = async { while watcher.query(sql, &[&ours]).await.expect("rows").is_empty() {} };
    let (sweeping, waits) = (Box::pin(store.sweep()), Box::pin(waits));
    let first = futures_util::future::select(sweeping, waits).await;
    assert!(matches!(first, futures_util::future::Either::Right(_)));
    drop(first);
    stranger.batch_execute("ROLLBACK").await.expect("no lock");
    assert!(store.commit(batch()).await.is_ok());
    assert_eq!(store.head().await, Ok(Position::new(1)));
}

/// STO-1: a transaction that met others is tried again, a few times.
#[tokio::test]
async fn a_transaction_that_met_others_is_tried_again() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open().await;
    schema
        .run(
            "CREATE SEQUENCE S.tries; \
             CREATE FUNCTION S.meet() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN IF nextval(TG_ARGV[0]) <= 2 THEN RAISE EXCEPTION USING ERRCODE = TG_ARGV[1]; \
             END IF; RETURN NEW; END'; \
             CREATE TRIGGER meet BEFORE INSERT ON S.events FOR EACH ROW \
             EXECUTE FUNCTION S.meet('S.tries', '40001')",
        )
        .await;
    let commit = store.commit(batch()).await.expect("a commit");
    assert_eq!(commit.position, Position::new(1));
    schema
        .run(
            "DROP TRIGGER meet ON S.events; \
             CREATE SEQUENCE S.more MINVALUE -9 START -9; \
             CREATE TRIGGER meet BEFORE INSERT ON S.events FOR EACH ROW \
             EXECUTE FUNCTION S.meet('S.more', '40P01')",
        )
        .await;
    let busy = store.commit(batch()).await;
    let Err(CommitError::Unavailable(unavailable)) = busy else {
        panic!("{busy:?}");
    };
    assert_eq!(unavailable.cause(), Cause::Busy);
    assert_eq!(unavailable.effect(), Effect::NotExecuted);
}

/// STO-3: of several in one transaction, one that the server can't take fails alone.
#[tokio::test]
async fn one_that_the_server_refuses_fails_alone() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open().await;
    schema
        .run("ALTER TABLE S.events ADD CHECK (kind <> 'bad')")
        .await;
    let bad = Batch::new().append("bad", Event::new("bad", ""));
    let commits = (0..20).map(|number| {
        let batch = if number == 7 { bad.clone() } else { batch() };
        store.commit(batch)
    });
    let answers = futures_util::future::join_all(commits).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), number != 7, "{number}: {answer:?}");
    }
    let all = store.read_all(Position::START, 100).await;
    assert_eq!(all.expect("a read").len(), 19);
}

/// STO-1: batches that are committed again at once are all found, each with what it was told at first.
#[tokio::test]
async fn many_found_again_are_told_the_same() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.open().await;
    let batches: Vec<_> = (0..50)
        .map(|number| match number {
            0 => Batch::new(),
            1 => batch(),
            2 => Batch::new().put("k", "v"),
            _ => batch()
                .append(format!("s/{}", number % 7), Event::new("happened", ""))
                .put(format!("k/{number}"), "v")
                .put(format!("l/{number}"), "v"),
        })
        .collect();
    let commit = async || {
        let commits = batches.iter().cloned().map(|batch| store.commit(batch));
        let commits = futures_util::future::join_all(commits).await;
        let commits = commits.into_iter().map(|done| done.expect("a commit"));
        commits.collect::<Vec<_>>()
    };
    let first = commit().await;
    assert_eq!(commit().await, first);
    for commit in first {
        assert_eq!(store.find(commit.id).await, Ok(Some(commit)));
    }
}

/// STO-1: a standby is read, and says of writes that it takes none.
#[tokio::test]
async fn a_standby_is_read_only() {
    let Some(server) = OwnServer::postgres() else {
        return;
    };
    let mut server = server.start().await;
    let store = open(&server).await;
    let first = store.commit(batch()).await.expect("a commit");
    drop(store);
    server.kill();
    server.put("data/standby.signal", "");
    let server = server.start().await;
    let store = open(&server).await;
    assert_eq!(store.head().await, Ok(first.position));
    let refused = store.commit(batch()).await;
    let Err(CommitError::Unavailable(refused)) = refused else {
        panic!("{refused:?}");
    };
    let read_only = (Cause::ReadOnly, Effect::NotExecuted);
    assert_eq!((refused.cause(), refused.effect()), read_only);
    let refused = store.commit_with(batch(), runs("SELECT 1")).await;
    let Err(CommitWithError::Commit(CommitError::Unavailable(refused))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((refused.cause(), refused.effect()), read_only);
}
