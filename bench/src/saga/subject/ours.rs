//! Our engine on our stores, both with their defaults.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use backstay::store::{SqliteStore, Store};
use backstay_saga::{Attempt, Engine, Saga, Settled, StepError, UndoError, Version};

use crate::saga::load::{self, Progress, Sample, Window};
use crate::store::Ground;
use crate::store::subject::postgres::Tables;
use crate::store::subject::runtime;

pub(super) fn visit_sqlite(ground: &Ground, at_once: usize, window: Window) -> Result<Sample> {
    let folder = tempfile::tempdir_in(ground.folder.path())?;
    runtime()?.block_on(async {
        let store = SqliteStore::open(folder.path().join("saga.db")).await?;
        run(store.store(), at_once, window).await
    })
}

pub(super) fn visit_postgres(ground: &Ground, at_once: usize, window: Window) -> Result<Sample> {
    runtime()?.block_on(async {
        let tables = Tables::new(&ground.postgres).await?;
        let sample = run(tables.store.store(), at_once, window).await;
        tables.remove().await?;
        sample
    })
}

type Cx = backstay_saga::Cx<Arc<Progress>, u64>;

async fn first(cx: Cx) -> Result<u64, StepError> {
    cx.app().step();
    Ok(*cx.input())
}

async fn following(cx: Cx, before: u64) -> Result<u64, StepError> {
    cx.app().step();
    Ok(before)
}

async fn undo(_cx: Cx, _attempt: Attempt<u64>) -> Result<(), UndoError> {
    Ok(())
}

async fn run(store: Store, at_once: usize, window: Window) -> Result<Sample> {
    let steps = Saga::builder("bench", Version(1));
    let one = steps.step("one", first).undo(undo);
    let two = steps.step("two", following).needs(one).undo(undo);
    let three = steps.step("three", following).needs(two).pivot();
    let saga = steps.build(three)?;

    let progress = Arc::new(Progress::default());
    let engine = Engine::builder(store, progress.clone()).run(&saga);
    let engine = engine.start().await?;
    let one_saga = {
        let (engine, progress) = (engine.clone(), progress.clone());
        move |number: u64| {
            let (engine, saga, progress) = (engine.clone(), saga.clone(), progress.clone());
            async move {
                let id = format!("order-{number}");
                let handle = engine.start(&saga, &id, number).await?;
                progress.started();
                let settled = handle.settled().await?;
                ensure!(settled == Settled::Done(number), "{id}: {settled:?}");
                Ok(())
            }
        }
    };
    let sample = load::sagas(at_once, window, progress, one_saga).await;
    engine.drain(Duration::ZERO).await;
    sample
}
