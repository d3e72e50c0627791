//! Waiting for an instance, wherever it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::handle::SettleError;
use super::instances::{Loaded, until_told};
use super::names::Name;
use super::settled::Settled;
use super::start::ensure;
use super::worker::Worker;
use crate::Json;
use crate::define::Run;

/// Between two looks at one that can't run.
const AGAIN: Duration = Duration::from_millis(100);
/// Without a hint there is a look after so long.
const LOOK: Duration = Duration::from_secs(5);

/// Waits until an instance has ended or is parked.
pub(super) async fn settled<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    run: &Arc<dyn Run<App>>,
    name: &Name,
    shard: u32,
) -> Result<Settled<Json>, SettleError> {
    wait(worker, run, name, shard, |_| true).await
}

/// Waits until an instance has ended.
pub(super) async fn over<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    run: &Arc<dyn Run<App>>,
    name: &Name,
    shard: u32,
) -> Result<Settled<Json>, SettleError> {
    let is_over = |settled: &Settled<Json>| !matches!(settled, Settled::Parked(_));
    wait(worker, run, name, shard, is_over).await
}

async fn wait<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    run: &Arc<dyn Run<App>>,
    name: &Name,
    shard: u32,
    is_enough: impl Fn(&Settled<Json>) -> bool + Send,
) -> Result<Settled<Json>, SettleError> {
    let mut hint = worker.hints.of(name);
    loop {
        if let Some(mut told) = worker.told(name) {
            let enough = told
                .wait_for(|told| told.as_ref().is_some_and(&is_enough))
                .await;
            let enough = enough.ok().and_then(|told| told.clone());
            if let Some(settled) = enough {
                return Ok(settled);
            }
            // It does not run here any more, or can't.
            sleep(AGAIN).await;
        }
        hint.seen();
        let instances = &worker.instances;
        if let Some(loaded) = until_told(|| instances.load(name)).await?
            && let Some(settled) = told(worker, run, &loaded)?
            && is_enough(&settled)
        {
            return Ok(settled);
        }
        if worker.may_begin(shard) {
            ensure(worker, name, shard);
            if worker.told(name).is_some() {
                continue;
            }
        }
        // A hint may be lost.
        let _ = timeout(LOOK, hint.next()).await;
    }
}

/// What an instance has come to, by the code of the graph that it runs.
fn told<App>(
    worker: &Worker<App>,
    run: &Arc<dyn Run<App>>,
    loaded: &Loaded,
) -> Result<Option<Settled<Json>>, SettleError> {
    let graph = loaded.state.graph.fingerprint();
    let run = if graph == *run.fingerprint() {
        Some(run)
    } else {
        worker.sagas.get(&graph)
    };
    match run {
        Some(run) => Ok(loaded.told(|outputs| run.output(outputs))),
        None => match loaded.told(|_| Json::null()) {
            Some(Settled::Done(_)) => Err(SettleError::NotRegistered {
                saga: loaded.state.graph.saga.clone(),
                version: loaded.state.graph.version,
            }),
            told => Ok(told),
        },
    }
}
