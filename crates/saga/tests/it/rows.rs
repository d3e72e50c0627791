//! SAG-2, SAG-11: steps committed with rows, broken at every boundary.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use backstay_saga::testkit::{Flaw, Sweep, Swept};
use backstay_saga::{Attempt, Cx, Saga, Settled, StepError, UndoError, Version};
use backstay_store::{
    Batch, BatchId, CommitWithError, CommittedWith, Expected, Put, Store, Transactional,
};
use futures_util::FutureExt;

/// Rows that are keys of the store, so that they are committed with whatever else is in the batch.
#[derive(Clone, Debug)]
struct Rows {
    store: Store,
}

/// What a transaction adds and deletes.
#[derive(Debug, Default)]
struct Changes(Mutex<Vec<(String, bool)>>);

impl Changes {
    fn add(&self, row: &str) {
        self.0.lock().unwrap().push((row.to_owned(), true));
    }

    fn delete(&self, row: &str) {
        self.0.lock().unwrap().push((row.to_owned(), false));
    }
}

impl Transactional for Rows {
    type Rows<'t> = Changes;
    type Worked<'t, O, E> = Result<O, E>;

    fn store(&self) -> Store {
        self.store.clone()
    }

    async fn commit_made<O, E, T, F>(
        &self,
        id: BatchId,
        work: impl for<'t> Fn(&'t Changes) -> Result<O, E> + Send + Sync + 'static,
        made: impl Fn(O) -> Result<(Batch, T), F> + Send + Sync + 'static,
    ) -> Result<CommittedWith<T>, CommitWithError<F>>
    where
        O: Send + 'static,
        E: Send + 'static,
        T: Send + 'static,
        F: From<E> + Send + 'static,
    {
        if let Some(commit) = self.store.find(id).await? {
            return Ok(CommittedWith::new(commit, None));
        }
        let changes = Changes::default();
        let made = work(&changes).map_err(F::from).and_then(made);
        let (mut batch, output) = made.map_err(CommitWithError::Work)?;
        for (row, is_new) in changes.0.into_inner().unwrap() {
            batch = if is_new {
                batch.put(row, Put::new("").expecting(Expected::Absent))
            } else {
                batch.delete(row, Expected::Any)
            };
        }
        let committed = self.store.commit(batch.with_id(id)).await;
        let commit = committed.map_err(CommitWithError::Commit)?;
        Ok(CommittedWith::new(commit, Some(output)))
    }
}

/// What the steps work with: each try makes a row of its own.
#[derive(Clone, Debug, Default)]
struct World {
    rows: Option<Rows>,
    tries: Arc<AtomicU32>,
}

impl World {
    fn of_worker(&self, store: &Store) -> Self {
        let rows = Some(Rows {
            store: store.clone(),
        });
        Self {
            rows,
            tries: self.tries.clone(),
        }
    }

    /// The rows that are there, without their numbers.
    fn there(&self) -> Vec<String> {
        let store = &self.rows.as_ref().unwrap().store;
        let listed = store.list("row/", "", 100).now_or_never();
        let rows = listed.expect("it is in memory").unwrap();
        let name = |key: &str| key.split('/').nth(1).unwrap_or_default().to_owned();
        rows.iter().map(|row| name(&row.key)).collect()
    }
}

type Context = Cx<World, u32>;

async fn add(cx: Context) -> Result<String, StepError> {
    let number = cx.app().tries.fetch_add(1, SeqCst);
    let row = format!("row/{}/{number}", cx.step());
    let rows = cx.app().rows.clone().unwrap();
    let work = move |rows: &Changes| {
        rows.add(&row);
        Ok(row.clone())
    };
    cx.commit_with(&rows, work).await
}

async fn add_after(cx: Context, _before: String) -> Result<String, StepError> {
    add(cx).await
}

async fn delete(cx: Context, attempt: Attempt<String>) -> Result<(), UndoError> {
    let rows = cx.app().rows.clone().unwrap();
    let work = move |rows: &Changes| {
        // What is unknown has left no row.
        if let Attempt::Done(row) = &attempt {
            rows.delete(row);
        }
        Ok(())
    };
    let deleted = cx.commit_with(&rows, work).await;
    deleted.map_err(|error| UndoError::again(error.to_string()))
}

fn saga() -> Saga<World, u32, String> {
    let saga = Saga::builder("rows", Version(1));
    let one = saga.step("one", add).undo(delete);
    let two = saga.step("two", add_after).needs(one).undo(delete);
    saga.build(two).unwrap()
}

fn all_or_nothing(world: &World, settled: &Settled<String>) -> Result<(), String> {
    let there = world.there();
    match settled {
        Settled::Done(output) if there == ["one", "two"] && output.starts_with("row/two/") => {
            Ok(())
        }
        Settled::Undone(_) if there.is_empty() => Ok(()),
        Settled::Parked(_) => Ok(()),
        settled => Err(format!("{there:?} is there, and it is {settled:?}")),
    }
}

fn swept(flaw: Option<Flaw>) -> Result<Swept, String> {
    let saga = saga();
    let mut sweep = Sweep::of(&saga, &7).each_worker(World::of_worker);
    if let Some(flaw) = flaw {
        sweep = sweep.flaw(flaw);
    }
    sweep.try_run(World::default, all_or_nothing)
}

/// SAG-2: rows are there once with the result or not at all.
#[test]
fn a_saga_in_rows() {
    let swept = swept(None).unwrap_or_else(|broken| panic!("{broken}"));
    assert!(swept.done > 20 && swept.undone > 20, "{swept:?}");
}

/// SAG-7: without fences a worker that was replaced commits its rows too, and is found out.
#[test]
fn rows_without_fences_are_found() {
    let found = swept(Some(Flaw::NoFence)).expect_err("the flaw is found");
    assert!(found.contains("the log can't be"), "{found}");
}
