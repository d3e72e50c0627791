//! Rows, record and answer in one commit.

use std::sync::Arc;

use backstay_idempotency::{Begun, Done, Fingerprint, Idempotency, RunError};
use backstay_store::postgres::tokio_postgres;
use backstay_store::sqlite::rusqlite;
use backstay_store::{Batch, SqliteStore, TestClock};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::ground::{A_MINUTE, leave_after, postgres, sqlite};

struct Shop {
    _folder: TempDir,
    store: SqliteStore,
    clock: TestClock,
    once: Idempotency<SqliteStore>,
}

impl Shop {
    async fn open() -> Self {
        let (folder, store, clock) = sqlite().await;
        let table = "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)";
        let made = store
            .commit_with(Batch::new(), |rows| rows.execute_batch(table))
            .await;
        made.unwrap();
        Self {
            _folder: folder,
            once: Idempotency::new(store.clone()).unwrap(),
            store,
            clock,
        }
    }

    async fn place(&self, item: &'static str) -> Result<Done<i64>, RunError<rusqlite::Error>> {
        let asked = Fingerprint::of(&item).unwrap();
        self.once
            .run("key", &asked, move |rows| {
                rows.execute("INSERT INTO orders (item) VALUES (?1)", [item])?;
                Ok(rows.last_insert_rowid())
            })
            .await
    }

    async fn orders(&self) -> i64 {
        let count = |rows: &rusqlite::Transaction<'_>| {
            rows.query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
        };
        let counted = self.store.commit_with(Batch::new(), count).await;
        counted.unwrap().output.unwrap()
    }
}

/// IDE-3: rows, record and answer are there together, once, and repeats get the answer, marked.
#[tokio::test]
async fn rows_and_answer_are_one_commit() {
    let shop = Shop::open().await;
    let before = shop.store.head().await.unwrap();
    let first = shop.place("tea").await.unwrap();
    assert_eq!((first.answer, first.replayed), (1, false));
    // One change of one key: the record is written once, finished.
    assert_eq!(shop.store.head().await.unwrap().get(), before.get() + 1);
    let again = shop.place("tea").await.unwrap();
    assert_eq!((again.answer, again.replayed), (1, true));
    let refused = shop.place("coffee").await.unwrap_err();
    assert!(matches!(refused, RunError::Mismatch), "{refused}");
    assert_eq!(shop.orders().await, 1);
}

/// IDE-1: an empty key is refused before the work.
#[tokio::test]
async fn an_empty_key_is_refused() {
    let once = Shop::open().await.once;
    let asked = Fingerprint::of_bytes("tea");
    let run = once.run("", &asked, |_| -> Result<(), rusqlite::Error> {
        panic!("it ran")
    });
    let refused = run.await.unwrap_err();
    assert_eq!(refused.to_string(), "key = \"\": must not be empty");
}

/// IDE-1, IDE-3: two hundred at once place one order, and all hear of the same one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_place_one_order() {
    let shop = Arc::new(Shop::open().await);
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let shop = shop.clone();
        tasks.spawn(async move { shop.place("tea").await.unwrap() });
    }
    let all = tasks.join_all().await;
    assert!(all.iter().all(|done| done.answer == 1));
    assert_eq!(all.iter().filter(|done| !done.replayed).count(), 1);
    assert_eq!(shop.orders().await, 1);
}

/// IDE-1, IDE-3: the same on Postgres, where the work of many runs at once, and rows of the first are in their way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_place_one_order_on_postgres() {
    let Some((store, _clock, schema)) = postgres().await else {
        return;
    };
    let table = format!("CREATE TABLE {schema}.orders (id int8 PRIMARY KEY)").leak() as &str;
    store
        .commit_with(Batch::new(), |rows| Box::pin(rows.batch_execute(table)))
        .await
        .unwrap();
    let once = Idempotency::new(store.clone()).unwrap();
    let insert: Arc<str> = format!("INSERT INTO {schema}.orders VALUES (7) RETURNING id").into();
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let (once, insert) = (once.clone(), insert.clone());
        tasks.spawn(async move {
            let asked = Fingerprint::of_bytes("tea");
            once.run("key", &asked, move |rows| {
                let insert = insert.clone();
                Box::pin(async move {
                    let row = rows.query_one(&*insert, &[]).await?;
                    row.try_get::<_, i64>(0)
                })
            })
            .await
            .unwrap()
        });
    }
    let all = tasks.join_all().await;
    assert!(all.iter().all(|done| done.answer == 7));
    assert_eq!(all.iter().filter(|done| !done.replayed).count(), 1);
    let count = format!("SELECT count(*) FROM {schema}.orders");
    let counted = store
        .commit_with(Batch::new(), |rows| {
            let count = count.clone();
            Box::pin(async move {
                let row = rows.query_one(&count, &[]).await?;
                Ok::<i64, tokio_postgres::Error>(row.get(0))
            })
        })
        .await;
    assert_eq!(counted.unwrap().output, Some(1));
}

/// IDE-4: work that fails or panics leaves no rows and a key that is free, for another request too.
#[tokio::test]
async fn work_that_goes_wrong_frees_the_key() {
    let shop = Shop::open().await;
    let asked = Fingerprint::of_bytes("it");
    let failed: Result<Done<()>, _> = shop
        .once
        .run("key", &asked, |rows| {
            rows.execute("INSERT INTO orders (item) VALUES ('tea')", [])?;
            Err(rusqlite::Error::InvalidQuery)
        })
        .await;
    let failed = failed.unwrap_err();
    assert!(
        matches!(failed, RunError::Work(rusqlite::Error::InvalidQuery)),
        "{failed}"
    );
    let panicked: Result<Done<()>, RunError<()>> = shop
        .once
        .run("key", &asked, |_| {
            std::panic::resume_unwind(Box::new("boom"))
        })
        .await;
    assert!(matches!(panicked, Err(RunError::Panicked)));
    let unwritable = shop.once.run("key", &asked, |rows| {
        rows.execute("INSERT INTO orders (item) VALUES ('tea')", [])?;
        Ok::<_, rusqlite::Error>(std::collections::BTreeMap::from([((1, 2), 3)]))
    });
    let unwritable = unwritable.await.unwrap_err();
    assert!(matches!(unwritable, RunError::Answer(_)), "{unwritable}");
    assert_eq!(shop.orders().await, 0);
    assert_eq!(shop.place("coffee").await.unwrap().answer, 1);
}

/// IDE-3: while somebody holds a guard of the key the work is not run; what a guard left open is run.
#[tokio::test]
async fn a_guard_and_rows_do_not_meet() {
    let shop = Shop::open().await;
    let asked = Fingerprint::of(&"tea").unwrap();
    let begun = shop.once.begin("key", &asked).await.unwrap();
    let Begun::Claimed(guard) = begun else {
        panic!("{begun:?}");
    };
    let running = shop.place("tea").await.unwrap_err();
    assert!(matches!(running, RunError::Running { .. }), "{running}");
    shop.clock.advance(A_MINUTE);
    assert_eq!(shop.place("tea").await.unwrap().answer, 1);
    assert!(guard.finish(&2).await.is_err());
    assert_eq!(shop.place("tea").await.unwrap().answer, 1);
}

/// IDE-3: whoever leaves while the work runs finds it done or not, and it is done once.
#[tokio::test]
async fn whoever_leaves_finds_it_done_once() {
    for polls in 0..24 {
        let shop = Shop::open().await;
        leave_after(polls, shop.place("tea")).await;
        assert_eq!(shop.place("tea").await.unwrap().answer, 1);
        assert_eq!(shop.orders().await, 1, "after {polls} polls");
    }
}

/// IDE-1: an answer of another type is an error, and nothing is run again.
#[tokio::test]
async fn an_answer_of_another_type_is_an_error() {
    let shop = Shop::open().await;
    shop.place("tea").await.unwrap();
    let asked = Fingerprint::of(&"tea").unwrap();
    let other: Result<Done<String>, RunError<()>> = shop
        .once
        .run("key", &asked, |_| panic!("it was done"))
        .await;
    assert!(matches!(other, Err(RunError::Kept(_))));
    assert_eq!(shop.orders().await, 1);
}
