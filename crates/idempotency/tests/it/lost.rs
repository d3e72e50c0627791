//! Commits whose answer is lost, or that do not happen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_idempotency::{
    BeginError, Begun, Fingerprint, FinishError, Guard, Idempotency, RunError, WithdrawError,
    Withdrawn,
};
use backstay_store::sqlite::rusqlite;
use backstay_store::{
    Backend, Batch, BatchId, Between, Cause, Commit, CommitError, CommitWithError, CommittedWith,
    Effect, Expected, MemoryStore, Pending, Put, SqliteStore, Store, TestClock, Timestamp,
    Transactional, Unavailable,
};
use futures_util::FutureExt;
use tokio::time::sleep;

use crate::ground::{sqlite, until};

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Well,
    /// It happens, and nobody hears of it.
    Lost,
    /// It does not happen, and nobody knows.
    Vanished,
    /// It does not happen, and that is said.
    Busy,
}

use Fate::{Busy, Lost, Vanished, Well};

impl Fate {
    fn error(self) -> Unavailable {
        match self {
            Busy => Unavailable::new(Cause::Busy, Effect::NotExecuted),
            _ => Unavailable::new(Cause::Storage, Effect::Unknown),
        }
    }
}

/// What becomes of the next commits, one after the other; of all after these, well.
#[derive(Clone, Debug, Default)]
struct Fates {
    fates: Arc<Mutex<VecDeque<Fate>>>,
    /// Somebody else's, committed just before the next.
    meanwhile: Arc<Mutex<Option<Batch>>>,
}

impl Fates {
    fn set(&self, fates: &[Fate]) {
        *self.fates.lock().unwrap() = fates.iter().copied().collect();
    }

    fn are_over(&self) -> bool {
        self.fates.lock().unwrap().is_empty()
    }

    fn next(&self) -> Fate {
        self.fates.lock().unwrap().pop_front().unwrap_or(Well)
    }
}

/// A store in memory behind a connection that fails.
#[derive(Debug)]
struct Lossy {
    inner: MemoryStore,
    fates: Fates,
}

impl Between for Lossy {
    type Below = MemoryStore;

    fn below(&self) -> &MemoryStore {
        &self.inner
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        let fate = self.fates.next();
        let meanwhile = self.fates.meanwhile.lock().unwrap().take();
        async move {
            if let Some(earlier) = meanwhile {
                self.inner.commit(earlier).await?;
            }
            let done = match fate {
                Well => return self.inner.commit(batch).await,
                Lost => self.inner.commit(batch).await.map(drop),
                Vanished | Busy => Ok(()),
            };
            done.and(Err(fate.error().into()))
        }
        .boxed()
    }
}

fn lossy() -> (Idempotency, Fates) {
    lossy_on(MemoryStore::new())
}

fn lossy_on(inner: MemoryStore) -> (Idempotency, Fates) {
    let fates = Fates::default();
    let store = Store::new(Lossy {
        inner,
        fates: fates.clone(),
    });
    let once = Idempotency::builder(store).allow_volatile();
    (once.build().unwrap(), fates)
}

fn asked() -> Fingerprint {
    Fingerprint::of_bytes("it")
}

async fn claimed(once: &Idempotency) -> Guard {
    match once.begin("key", &asked()).await.unwrap() {
        Begun::Claimed(guard) => guard,
        other => panic!("{other:?}"),
    }
}

async fn state(once: &Idempotency) -> &'static str {
    match once.begin("key", &asked()).await.unwrap() {
        Begun::Claimed(_) => "free or open",
        Begun::Running { .. } => "running",
        Begun::Finished(_) => "finished",
        _ => "new",
    }
}

/// What may have happened is settled by the same batch.
const SETTLED: [&[Fate]; 6] = [
    &[Lost],
    &[Vanished],
    &[Lost, Lost],
    &[Vanished, Lost, Vanished],
    &[Lost, Busy, Lost],
    &[Vanished, Busy, Busy],
];

/// IDE-1, IDE-3: a claim and an answer whose commit is lost on the way back are found to be there, and not refused.
#[tokio::test(start_paused = true)]
async fn lost_answers_are_settled() {
    for fates in SETTLED {
        let (once, fate) = lossy();
        fate.set(fates);
        let guard = claimed(&once).await;
        fate.set(fates);
        guard.finish(&"done").await.unwrap();
        assert_eq!(state(&once).await, "finished", "{fates:?}");

        let (once, fate) = lossy();
        let guard = claimed(&once).await;
        fate.set(fates);
        guard.leave_open().await.unwrap();
        let guard = claimed(&once).await;
        fate.set(fates);
        guard.free().await.unwrap();
        assert_eq!(state(&once).await, "free or open", "{fates:?}");
    }
}

/// IDE-3: a renewal whose answer is lost, or that did not happen, ends no run.
#[tokio::test(start_paused = true)]
async fn lost_renewals_are_settled() {
    for fates in SETTLED {
        let clock = TestClock::at(Timestamp::from_millis(1_800_000_000_000));
        let (once, fate) = lossy_on(MemoryStore::with_clock(clock.clone()));
        let guard = claimed(&once).await;
        fate.set(fates);
        let step = Duration::from_millis(500);
        for _ in 0..200 {
            clock.advance(step);
            tokio::time::advance(step).await;
            tokio::task::yield_now().await;
            // A look is a commit too, and must not take a renewal's fate.
            if fate.are_over() {
                assert_eq!(state(&once).await, "running", "{fates:?}");
            }
        }
        assert!(fate.are_over(), "it has renewed nothing");
        guard.finish(&"done").await.unwrap();
        assert_eq!(state(&once).await, "finished", "{fates:?}");
    }
}

/// IDE-3: a claim that did not happen is told at once; an answer is tried again, for it can't be had twice.
#[tokio::test(start_paused = true)]
async fn what_did_not_happen_is_tried_again_for_answers_only() {
    let (once, fate) = lossy();
    fate.set(&[Busy]);
    let busy = once.begin("key", &asked()).await.unwrap_err();
    assert!(
        matches!(&busy, BeginError::Commit(CommitError::Unavailable(error)) if error.effect() == Effect::NotExecuted),
        "{busy}"
    );
    let guard = claimed(&once).await;
    fate.set(&[Busy, Busy, Busy]);
    guard.finish(&"done").await.unwrap();
    assert_eq!(state(&once).await, "finished");
}

/// IDE-3: an answer that can't be kept now is told, for it may be kept yet; the key is held, and it is kept when the store
/// is back.
#[tokio::test(start_paused = true)]
async fn an_answer_that_can_not_be_kept_is_told() {
    for (fates, now) in [
        ([Busy; 4], "running"),
        ([Vanished, Busy, Busy, Busy], "running"),
        ([Vanished; 4], "running"),
        ([Lost; 4], "finished"),
    ] {
        let (once, fate) = lossy();
        let guard = claimed(&once).await;
        fate.set(&fates);
        let error = guard.finish(&"done").await.unwrap_err();
        assert!(
            matches!(&error, FinishError::Commit(CommitError::Unavailable(error)) if error.effect() == Effect::Unknown),
            "{fates:?} {error}"
        );
        assert_eq!(state(&once).await, now, "{fates:?}");
        sleep(Duration::from_secs(3)).await;
        assert_eq!(state(&once).await, "finished", "{fates:?}");
    }
}

/// IDE-3: a store that is away for the take-over time after the answer is waited for so long; then the run is given up.
#[tokio::test(start_paused = true)]
async fn an_answer_is_tried_for_the_take_over_time() {
    // Four tries while the caller waits, then twelve, each after a renewal.
    for (away, state_then) in [(4 + 2 * 12, "free or open"), (4 + 2 * 12 - 1, "finished")] {
        let (once, fate) = lossy();
        let guard = claimed(&once).await;
        fate.set(&vec![Busy; away]);
        assert!(guard.finish(&"done").await.is_err());
        sleep(Duration::from_secs(31)).await;
        assert!(fate.are_over(), "it was given up before");
        assert_eq!(state(&once).await, state_then, "{away}");
    }
}

/// IDE-3: where the store comes back after the run has expired, the answer is kept unless somebody has begun anew.
#[tokio::test(start_paused = true)]
async fn a_late_store_keeps_one_answer() {
    for is_taken in [false, true] {
        let clock = TestClock::at(Timestamp::from_millis(1_800_000_000_000));
        let (once, fate) = lossy_on(MemoryStore::with_clock(clock.clone()));
        let guard = claimed(&once).await;
        fate.set(&[Busy; 5]);
        assert!(guard.finish(&"first").await.is_err());
        clock.advance(Duration::from_secs(60));
        if is_taken {
            until(async || fate.are_over()).await;
            claimed(&once).await.finish(&"second").await.unwrap();
        }
        sleep(Duration::from_secs(3)).await;
        let Begun::Finished(kept) = once.begin("key", &asked()).await.unwrap() else {
            panic!("it is kept");
        };
        let due = if is_taken { "second" } else { "first" };
        assert_eq!(kept.answer::<String>().unwrap(), due);
    }
}

/// IDE-3: over HTTP a store that is away when the handler has ended costs no second handler.
#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_moment_costs_no_second_handler() {
    use axum::response::IntoResponse;

    use crate::http::{Server, layer, post};

    let fates = Fates::default();
    let inner = MemoryStore::new();
    let store = Store::new(Lossy {
        inner,
        fates: fates.clone(),
    });
    let server = Server::new(layer(&store), |count| {
        format!("charge {count}").into_response()
    });
    fates.set(&[Well, Busy, Busy, Busy, Busy]);
    let first = server.send(post("k", "tea")).await;
    assert_eq!((first.status, &first.body[..]), (200, &b"charge 0"[..]));
    let again = server.send(post("k", "tea")).await;
    assert_eq!(again.problem().1, "still-running");
    sleep(Duration::from_secs(3)).await;
    let again = server.send(post("k", "tea")).await;
    assert_eq!((&again.body, again.replayed), (&first.body, true));
    assert_eq!(server.times(), 1);
}

/// SAG-4: a withdrawal whose commit is lost on the way back is found to be there, with what was known; one that did not
/// happen is told.
#[tokio::test(start_paused = true)]
async fn lost_withdrawals_are_settled() {
    for fates in SETTLED {
        let (once, fate) = lossy();
        claimed(&once).await.finish(&"done").await.unwrap();
        fate.set(fates);
        let Withdrawn::Done(kept) = once.withdraw("key").await.unwrap() else {
            panic!("it was done");
        };
        assert_eq!(kept.answer::<String>().unwrap(), "done", "{fates:?}");
        fate.set(fates);
        let unseen = once.withdraw("other").await.unwrap();
        assert!(matches!(unseen, Withdrawn::Unseen), "{fates:?}");
        for key in ["key", "other"] {
            let refused = once.begin(key, &asked()).await;
            assert!(matches!(refused, Err(BeginError::Withdrawn { .. })));
        }
        fate.set(&[Busy]);
        let busy = once.withdraw("third").await.unwrap_err();
        assert!(
            matches!(&busy, WithdrawError::Commit(CommitError::Unavailable(error)) if error.effect() == Effect::NotExecuted),
            "{busy}"
        );
    }
}

/// SAG-4: what comes between a withdrawal's look and its commit counts: work that was done by then is told as done, and an
/// owner that is back is not withdrawn.
#[tokio::test(start_paused = true)]
async fn what_comes_before_the_commit_counts() {
    let fates = Fates::default();
    let store = Store::new(Lossy {
        inner: MemoryStore::new(),
        fates: fates.clone(),
    });
    let once = Idempotency::builder(store.clone()).allow_volatile();
    let once = once.build().unwrap();
    claimed(&once).await.finish(&"done").await.unwrap();
    let entry = store.list("", "", 1).await.unwrap().remove(0);
    let clear = || Batch::new().delete(&entry.key, Expected::Any);
    let come = |batch| *fates.meanwhile.lock().unwrap() = Some(batch);

    store.commit(clear()).await.unwrap();
    come(Batch::new().put(&entry.key, Put::new(entry.value.clone())));
    let was = once.withdraw("key").await.unwrap();
    assert!(matches!(was, Withdrawn::Done(_)), "{was:?}");

    store.commit(clear()).await.unwrap();
    claimed(&once).await.leave_open().await.unwrap();
    let run = entry.key.replace("record", "run");
    come(Batch::new().put(&run, Put::new("an owner")));
    let running = once.withdraw("key").await.unwrap_err();
    assert!(
        matches!(running, WithdrawError::Running { .. }),
        "{running}"
    );
    let gone = Batch::new().delete(run, Expected::Any);
    store.commit(gone).await.unwrap();
    let was = once.withdraw("key").await.unwrap();
    assert!(matches!(was, Withdrawn::Unknown), "{was:?}");
}

/// A file behind a connection that fails.
#[derive(Clone)]
struct LossyFile {
    inner: SqliteStore,
    fates: Fates,
}

impl From<LossyFile> for Store {
    fn from(file: LossyFile) -> Self {
        file.inner.store()
    }
}

impl Transactional for LossyFile {
    type Rows<'t> = rusqlite::Transaction<'t>;
    type Worked<'t, O, E> = Result<O, E>;

    fn store(&self) -> Store {
        self.inner.store()
    }

    async fn commit_made<O, E, T, F>(
        &self,
        id: BatchId,
        work: impl for<'t> Fn(&'t Self::Rows<'t>) -> Result<O, E> + Send + Sync + 'static,
        made: impl Fn(O) -> Result<(Batch, T), F> + Send + Sync + 'static,
    ) -> Result<CommittedWith<T>, CommitWithError<F>>
    where
        O: Send + 'static,
        E: Send + 'static,
        T: Send + 'static,
        F: From<E> + Send + 'static,
    {
        let fate = self.fates.next();
        let meanwhile = self.fates.meanwhile.lock().unwrap().take();
        if let Some(earlier) = meanwhile {
            self.inner.store().commit(earlier).await.unwrap();
        }
        if matches!(fate, Well | Lost) {
            let done = self.inner.commit_made(id, work, made).await;
            if fate == Well || done.is_err() {
                return done;
            }
        }
        Err(fate.error().into())
    }
}

/// IDE-3: rows whose commit is lost on the way back are there once, and the answer is that of the try that counts.
#[tokio::test(start_paused = true)]
async fn lost_answers_of_rows_are_settled() {
    for fates in SETTLED {
        let asked = asked();
        let (_folder, inner, _clock) = sqlite().await;
        let table = "CREATE TABLE orders (id INTEGER PRIMARY KEY)";
        let made = inner.commit_with(Batch::new(), |rows| rows.execute_batch(table));
        made.await.unwrap();
        let file = LossyFile {
            inner,
            fates: Fates::default(),
        };
        let once = Idempotency::new(file.clone()).unwrap();
        file.fates.set(fates);
        for replayed in [false, true] {
            let done = once.run("key", &asked, |rows| {
                rows.execute("INSERT INTO orders DEFAULT VALUES", [])?;
                Ok::<_, rusqlite::Error>(rows.last_insert_rowid())
            });
            let done = done.await.unwrap();
            assert_eq!((done.answer, done.replayed), (1, replayed), "{fates:?}");
        }
        file.fates.set(&[Busy]);
        let busy = once.run("other", &asked, |_| Ok::<_, rusqlite::Error>(()));
        let busy = busy.await.unwrap_err();
        assert!(
            matches!(&busy, RunError::Commit(CommitError::Unavailable(error)) if error.effect() == Effect::NotExecuted),
            "{busy}"
        );
    }
}

/// SAG-4: work that fails because its undo came in between is told so, and not that its key is free.
#[tokio::test]
async fn work_that_fails_after_its_undo_is_refused() {
    let (_folder, inner, _clock) = sqlite().await;
    let (store, fates) = (inner.store(), Fates::default());
    let file = LossyFile {
        inner,
        fates: fates.clone(),
    };
    let once = Idempotency::new(file).unwrap();
    once.withdraw("key").await.unwrap();
    let entry = store.list("", "", 1).await.unwrap().remove(0);
    let clear = Batch::new().delete(&entry.key, Expected::Any);
    store.commit(clear).await.unwrap();
    let undone = Batch::new().put(&entry.key, Put::new(entry.value));
    *fates.meanwhile.lock().unwrap() = Some(undone);
    let asked = asked();
    let refused = once.run("key", &asked, |_| {
        Err::<(), _>(rusqlite::Error::InvalidQuery)
    });
    let refused = refused.await.unwrap_err();
    assert!(matches!(refused, RunError::Withdrawn { .. }), "{refused}");
}
