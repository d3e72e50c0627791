//! Rows of an undo, its answer and the tombstone of what it undoes in one commit.

use std::sync::Arc;

use backstay_idempotency::{Begun, Done, Fingerprint, Idempotency, RunError, Withdrawn};
use backstay_store::postgres::tokio_postgres;
use backstay_store::sqlite::rusqlite;
use backstay_store::{Batch, Effect, SqliteStore, TestClock};
use tempfile::TempDir;
use tokio::task::{JoinSet, yield_now};

use crate::ground::{A_MINUTE, leave_after, postgres, soon, sqlite};

struct Shop {
    _folder: TempDir,
    store: SqliteStore,
    clock: TestClock,
    once: Idempotency<SqliteStore>,
}

type Ran<T> = Result<Done<T>, RunError<rusqlite::Error>>;

fn asked() -> Fingerprint {
    Fingerprint::of_bytes("tea")
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

    async fn place(&self) -> Ran<i64> {
        self.once
            .run("place", &asked(), |rows| {
                rows.execute("INSERT INTO orders (item) VALUES ('tea')", [])?;
                Ok(rows.last_insert_rowid())
            })
            .await
    }

    /// The answer is what was known of the order.
    async fn cancel(&self) -> Ran<String> {
        self.once
            .undoing("place")
            .run("cancel", &asked(), |rows, placed| {
                Ok(match placed {
                    Withdrawn::Done(placed) => {
                        let order: i64 = placed.answer().unwrap();
                        rows.execute("DELETE FROM orders WHERE id = ?1", [order])?;
                        format!("cancelled {order}")
                    }
                    Withdrawn::Unseen => "nothing to cancel".to_owned(),
                    Withdrawn::Unknown => "unknown".to_owned(),
                })
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

fn is_refused<T>(ran: &Ran<T>, with: Effect) -> bool {
    matches!(ran, Err(RunError::Withdrawn { effect }) if *effect == with)
}

/// SAG-4: an undo's rows, its answer and the tombstone are one commit; a repeat of it is answered, one of the work refused.
#[tokio::test]
async fn rows_answer_and_tombstone_are_one_commit() {
    let shop = Shop::open().await;
    assert_eq!(shop.place().await.unwrap().answer, 1);
    let before = shop.store.head().await.unwrap();
    for replayed in [false, true] {
        let cancelled = shop.cancel().await.unwrap();
        assert_eq!(
            (&*cancelled.answer, cancelled.replayed),
            ("cancelled 1", replayed)
        );
        // The undo's record and the tombstone.
        assert_eq!(shop.store.head().await.unwrap().get(), before.get() + 2);
    }
    assert!(is_refused(&shop.place().await, Effect::Unknown));
    assert_eq!(shop.orders().await, 0);
}

/// SAG-4: work that comes after its undo is refused and leaves no rows.
#[tokio::test]
async fn an_undo_that_is_first_refuses_the_work() {
    let shop = Shop::open().await;
    assert_eq!(shop.cancel().await.unwrap().answer, "nothing to cancel");
    assert!(is_refused(&shop.place().await, Effect::NotExecuted));
    assert_eq!(shop.orders().await, 0);
}

/// SAG-4: an undo that fails leaves nothing, and one that comes after the key was withdrawn is told what was known then.
#[tokio::test]
async fn an_undo_that_fails_leaves_no_tombstone() {
    let shop = Shop::open().await;
    shop.place().await.unwrap();
    let failed: Ran<()> = shop
        .once
        .undoing("place")
        .run("cancel", &asked(), |rows, _| {
            rows.execute("DELETE FROM orders", [])?;
            Err(rusqlite::Error::InvalidQuery)
        })
        .await;
    assert!(matches!(failed, Err(RunError::Work(_))));
    assert_eq!(shop.orders().await, 1);
    assert!(shop.place().await.unwrap().replayed);

    let was = shop.once.withdraw("place").await.unwrap();
    assert!(matches!(was, Withdrawn::Done(_)));
    assert!(is_refused(&shop.place().await, Effect::Unknown));
    assert_eq!(shop.cancel().await.unwrap().answer, "cancelled 1");
    assert_eq!(shop.orders().await, 0);
}

/// SAG-4: while somebody holds a guard of what is to be undone the undo waits; a guard that expired is taken over.
#[tokio::test]
async fn a_guard_is_waited_for_until_it_expires() {
    let shop = Shop::open().await;
    let begun = shop.once.begin("place", &asked()).await.unwrap();
    let Begun::Claimed(guard) = begun else {
        panic!("{begun:?}");
    };
    let running = shop.cancel().await.unwrap_err();
    assert!(matches!(running, RunError::Running { .. }), "{running}");
    shop.clock.advance(A_MINUTE);
    assert_eq!(shop.cancel().await.unwrap().answer, "unknown");
    assert!(guard.finish(&7).await.is_err());
    assert!(is_refused(&shop.place().await, Effect::Unknown));
}

/// SAG-4: nothing undoes itself.
#[tokio::test]
async fn an_undo_has_a_key_of_its_own() {
    let shop = Shop::open().await;
    let undoing = shop.once.undoing("place");
    let same: Ran<()> = undoing.run("place", &asked(), |_, _| Ok(())).await;
    assert!(matches!(same, Err(RunError::Mismatch)));
    assert_eq!(shop.place().await.unwrap().answer, 1);
}

/// SAG-4: calls and undos at once leave no row, and the undos all have one answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_undos_at_once_leave_nothing() {
    for round in 0..10 {
        let shop = Arc::new(Shop::open().await);
        let (mut calls, mut undos) = (JoinSet::new(), JoinSet::new());
        for _ in 0..8 {
            let placing = shop.clone();
            calls.spawn(async move { placing.place().await });
            let cancelling = shop.clone();
            undos.spawn(async move {
                // The call has a head start that is longer from round to round.
                for _ in 0..round * 20 {
                    yield_now().await;
                }
                cancelling.cancel().await.unwrap().answer
            });
        }
        let calls = soon(calls.join_all()).await;
        let undos = soon(undos.join_all()).await;
        let due = if calls.iter().any(Result::is_ok) {
            "cancelled 1"
        } else {
            "nothing to cancel"
        };
        assert!(undos.iter().all(|answer| answer == due), "{due}: {undos:?}");
        assert_eq!(shop.orders().await, 0);
        assert!(shop.place().await.is_err());
    }
}

/// SAG-4: whoever leaves while the undo runs finds it done or not, and the tombstone is there with it or not at all.
#[tokio::test]
async fn whoever_leaves_finds_it_undone_whole_or_not_at_all() {
    for polls in 0..24 {
        let shop = Shop::open().await;
        shop.place().await.unwrap();
        leave_after(polls, shop.cancel()).await;
        let is_undone = shop.orders().await == 0;
        assert_eq!(
            shop.place().await.is_err(),
            is_undone,
            "after {polls} polls"
        );
        assert_eq!(shop.cancel().await.unwrap().answer, "cancelled 1");
        assert_eq!(shop.orders().await, 0);
    }
}

/// SAG-4: the same on Postgres, where calls and undos run at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_undos_at_once_leave_nothing_on_postgres() {
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
    let delete: Arc<str> = format!("DELETE FROM {schema}.orders WHERE id = $1").into();
    let (mut calls, mut undos) = (JoinSet::new(), JoinSet::new());
    for _ in 0..20 {
        let (placing, insert) = (once.clone(), insert.clone());
        calls.spawn(async move {
            let asked = asked();
            let place = placing.run("place", &asked, move |rows| {
                let insert = insert.clone();
                Box::pin(async move {
                    let row = rows.query_one(&*insert, &[]).await?;
                    row.try_get::<_, i64>(0)
                })
            });
            place.await.is_ok()
        });
        let (cancelling, delete) = (once.clone(), delete.clone());
        undos.spawn(async move {
            let asked = asked();
            let undoing = cancelling.undoing("place");
            let cancel = undoing.run("cancel", &asked, move |rows, placed| {
                let delete = delete.clone();
                Box::pin(async move {
                    let Withdrawn::Done(placed) = placed else {
                        return Ok(0);
                    };
                    let order: i64 = placed.answer().unwrap();
                    rows.execute(&*delete, &[&order]).await
                })
            });
            cancel.await.unwrap().answer
        });
    }
    let is_placed = soon(calls.join_all()).await.contains(&true);
    let undos = soon(undos.join_all()).await;
    assert!(undos.iter().all(|rows| *rows == u64::from(is_placed)));
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
    assert_eq!(counted.unwrap().output, Some(0));
}
