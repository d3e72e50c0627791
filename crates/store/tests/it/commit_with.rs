//! The user's own rows in the store's transaction.

use backstay_store::sqlite::rusqlite::{Error, Transaction};
use backstay_store::sqlite::{CommitWithError, SqliteOptions};
use backstay_store::{
    Batch, BatchId, CommitError, Effect, Event, Expected, Put, SqliteStore, Version,
};
use std::time::Duration;
use tempfile::TempDir;

async fn store(options: SqliteOptions) -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = options.open(folder.path().join("store.db")).await;
    let store = store.expect("a store");
    let table = "CREATE TABLE orders (id INTEGER PRIMARY KEY)";
    store
        .commit_with(Batch::new(), |rows| rows.execute_batch(table))
        .await
        .expect("a table");
    (folder, store)
}

fn place(id: i64) -> impl Fn(&Transaction<'_>) -> Result<usize, Error> + Send + 'static {
    move |rows| rows.execute("INSERT INTO orders VALUES (?1)", [id])
}

async fn orders(store: &SqliteStore) -> i64 {
    let count = |rows: &Transaction<'_>| {
        rows.query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
    };
    let counted = store.commit_with(Batch::new(), count).await;
    counted.expect("a count").output.expect("it was run")
}

fn placed() -> Batch {
    Batch::new().append("orders", Event::new("placed", ""))
}

async fn placed_so_far(store: &SqliteStore) -> usize {
    let events = store.read("orders", Version::START, 100).await;
    events.expect("a read").len()
}

/// STO-1: the batch and the user's rows are committed together, and once for each batch.
#[tokio::test]
async fn rows_are_committed_with_the_batch() {
    let (_folder, store) = store(SqliteOptions::new()).await;
    let batch = placed();
    let done = store.commit_with(batch.clone(), place(7)).await;
    let done = done.expect("a commit");
    assert_eq!(done.output, Some(1));
    assert_eq!(done.commit.version("orders"), Some(Version::new(1)));
    let again = store.commit_with(batch, place(8)).await.expect("a commit");
    assert_eq!((again.output, again.commit.id), (None, done.commit.id));
    assert_eq!(orders(&store).await, 1);
}

/// STO-1: the batch may say what came of the work.
#[tokio::test]
async fn a_batch_is_made_of_the_work() {
    let (_folder, store) = store(SqliteOptions::new()).await;
    let work = |rows: &Transaction<'_>| {
        rows.execute("INSERT INTO orders VALUES (7)", [])?;
        let last = rows.last_insert_rowid();
        let batch = Batch::new().put(
            "last",
            Put::new(last.to_string()).expecting(Expected::Absent),
        );
        Ok::<_, Error>((batch, last))
    };
    let id = BatchId::new();
    let done = store.commit_from(id, work).await.expect("a commit");
    assert_eq!((done.commit.id, done.output), (id, Some(7)));
    let last = store.get("last").await.expect("a read").expect("a value");
    assert_eq!(last.value, "7");
    let again = store.commit_from(id, work).await.expect("it is there");
    assert_eq!((again.commit, again.output), (done.commit, None));

    let taken = |rows: &Transaction<'_>| {
        rows.execute("INSERT INTO orders VALUES (8)", [])?;
        let batch = Batch::new().put("last", Put::new("8").expecting(Expected::Absent));
        Ok::<_, Error>((batch, ()))
    };
    let refused = store.commit_from(BatchId::new(), taken).await;
    let refused = refused.expect_err("the key is there");
    assert!(
        matches!(refused, CommitWithError::Commit(CommitError::Conflict(_))),
        "{refused:?}"
    );
    let nameless = |_: &Transaction<'_>| Ok::<_, Error>((Batch::new().put("", "v"), ()));
    let refused = store.commit_from(BatchId::new(), nameless).await;
    let refused = refused.expect_err("a key has a name");
    assert!(
        matches!(refused, CommitWithError::Commit(CommitError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(orders(&store).await, 1);
}

/// STO-1: what fails in the one undoes the other.
#[tokio::test]
async fn a_failure_undoes_both() {
    let (_folder, store) = store(SqliteOptions::new()).await;
    store
        .commit_with(placed(), place(7))
        .await
        .expect("a commit");
    let twice = store.commit_with(placed(), place(7)).await;
    assert!(matches!(twice, Err(CommitWithError::Work(_))), "{twice:?}");
    let taken = Batch::new().put("key", Put::new("v").expecting(Expected::Absent));
    store.commit(taken).await.expect("a commit");
    let taken = Batch::new().put("key", Put::new("v").expecting(Expected::Absent));
    let refused = store.commit_with(taken, place(8)).await;
    assert!(
        matches!(
            refused,
            Err(CommitWithError::Commit(CommitError::Conflict(_)))
        ),
        "{refused:?}"
    );
    let panicked = store
        .commit_with(placed(), |rows| -> Result<(), Error> {
            rows.execute("INSERT INTO orders VALUES (9)", [])?;
            panic!("on purpose")
        })
        .await;
    assert!(
        matches!(panicked, Err(CommitWithError::Panicked)),
        "{panicked:?}"
    );
    assert_eq!(orders(&store).await, 1);
    assert_eq!(placed_so_far(&store).await, 1);
}

/// STO-3: work that takes too long is stopped, and those who commit beside it are not harmed.
#[tokio::test]
async fn work_that_takes_too_long_fails_alone() {
    let short = SqliteOptions::new().work_timeout(Duration::from_millis(50));
    let (_folder, store) = store(short).await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   INSERT INTO orders SELECT i FROM n";
    let (first, stopped, last) = tokio::join!(
        store.commit(placed()),
        store.commit_with(placed(), move |rows| rows.execute_batch(endless)),
        store.commit(placed()),
    );
    assert!(first.is_ok() && last.is_ok(), "{first:?} {last:?}");
    assert!(
        matches!(stopped, Err(CommitWithError::TookTooLong { .. })),
        "{stopped:?}"
    );
    assert_eq!(placed_so_far(&store).await, 2);
}

/// STO-1: work that makes SQLite give up the transaction and hides it is not told that it was committed.
#[tokio::test]
async fn a_hidden_rollback_is_no_commit() {
    let (_folder, store) = store(SqliteOptions::new()).await;
    let first = store.commit_with(Batch::new(), place(1)).await;
    first.expect("a commit");
    let hides = |rows: &Transaction<'_>| -> Result<(), Error> {
        let taken = rows.execute("INSERT OR ROLLBACK INTO orders VALUES (1)", []);
        assert!(taken.is_err());
        Ok(())
    };
    let batch = placed();
    let (hidden, beside) = tokio::join!(
        store.commit_with(batch.clone(), hides),
        store.commit(placed())
    );
    assert!(hidden.is_err(), "{hidden:?}");
    assert!(beside.is_ok(), "{beside:?}");
    assert_eq!(store.find(batch.id()).await, Ok(None));
    assert_eq!(placed_so_far(&store).await, 1);
}

/// STO-1: what the work writes after it has lost the transaction is not committed without the batch.
#[tokio::test]
async fn nothing_is_committed_after_a_rollback() {
    let (_folder, store) = store(SqliteOptions::new()).await;
    let first = store.commit_with(Batch::new(), place(1)).await;
    first.expect("a commit");
    let goes_on = |rows: &Transaction<'_>| -> Result<(), Error> {
        let taken = rows.execute("INSERT OR ROLLBACK INTO orders VALUES (1)", []);
        assert!(taken.is_err());
        rows.execute("INSERT INTO orders VALUES (2)", [])?;
        Ok(())
    };
    let refused = store.commit_with(placed(), goes_on).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!((placed_so_far(&store).await, orders(&store).await), (0, 1));
    store.commit(placed()).await.expect("the store goes on");
}

/// STO-3: a foreign key that is to hold at the end fails whoever broke it, and nobody beside it.
#[tokio::test]
async fn a_deferred_constraint_fails_alone() {
    let (_folder, store) = store(SqliteOptions::new()).await;
    let table = "CREATE TABLE lines (of INTEGER REFERENCES orders DEFERRABLE INITIALLY DEFERRED)";
    store
        .commit_with(Batch::new(), |rows| rows.execute_batch(table))
        .await
        .expect("a table");
    let breaks = |rows: &Transaction<'_>| rows.execute("INSERT INTO lines VALUES (99)", []);
    let (first, broken, last) = tokio::join!(
        store.commit(placed()),
        store.commit_with(placed(), breaks),
        store.commit(placed()),
    );
    assert!(first.is_ok() && last.is_ok(), "{first:?} {last:?}");
    let Err(CommitWithError::Commit(CommitError::Unavailable(broken))) = broken else {
        panic!("{broken:?}");
    };
    assert_eq!(broken.effect(), Effect::NotExecuted);
    assert_eq!(placed_so_far(&store).await, 2);
}

/// STO-1: the work can't end the transaction, change settings, or come between the store and its tables.
#[tokio::test]
async fn the_work_is_kept_from_what_is_the_stores() {
    let (_folder, store) = store(SqliteOptions::new()).await;
    for forbidden in [
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT mine",
        "PRAGMA synchronous = OFF",
        "ATTACH ':memory:' AS other",
        "DELETE FROM backstay_events",
        "UPDATE Backstay_State SET head = 99",
        "INSERT INTO backstay_fences VALUES ('f', 1)",
        "DROP TABLE backstay_keys",
        "CREATE TEMP TABLE backstay_keys (name, value, revision, expires_at, changed_at)",
        "CREATE TEMP VIEW backstay_state AS SELECT 1 AS head, 1 AS clock, 1 AS schema",
        "CREATE TEMP TRIGGER t AFTER INSERT ON main.backstay_events BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TRIGGER t AFTER INSERT ON backstay_events BEGIN SELECT RAISE(IGNORE); END",
        "CREATE INDEX i ON backstay_events (at)",
        "CREATE TABLE backstay_later (id INTEGER)",
        "CREATE VIEW backstay_later AS SELECT 1",
        "CREATE TEMP TABLE sums (n); ALTER TABLE sums RENAME TO backstay_keys",
        "ALTER TABLE backstay_keys RENAME TO keys",
        "DROP INDEX backstay_keys_expiry",
        "CREATE VIRTUAL TABLE backstay_words USING fts5(word)",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = ''",
        "DETACH main",
        "RELEASE task",
        "ROLLBACK TO task",
        "END",
        "VACUUM",
    ] {
        let refused = store
            .commit_with(placed(), move |rows| rows.execute_batch(forbidden))
            .await;
        let refused = matches!(refused, Err(CommitWithError::Work(_)));
        assert!(refused, "{forbidden}");
    }
    store
        .commit(placed().put("key", "value"))
        .await
        .expect("a commit");
    assert_eq!(placed_so_far(&store).await, 1);
    assert_eq!(store.check().await, Ok(Vec::new()));
}
