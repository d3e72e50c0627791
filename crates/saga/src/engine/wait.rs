//! Waiting for an instance, wherever it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::instances::until_told;
use super::names::Name;
use super::settled::Settled;
use super::start::ensure;
use super::worker::Worker;
use crate::Json;
use crate::define::Run;
use crate::machine::Illegal;

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
) -> Result<Settled<Json>, Illegal> {
    wait(worker, run, name, shard, |_| true).await
}

/// Waits until an instance has ended.
pub(super) async fn over<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    run: &Arc<dyn Run<App>>,
    name: &Name,
    shard: u32,
) -> Result<Settled<Json>, Illegal> {
    let is_over = |settled: &Settled<Json>| !matches!(settled, Settled::Parked(_));
    wait(worker, run, name, shard, is_over).await
}

async fn wait<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    run: &Arc<dyn Run<App>>,
    name: &Name,
    shard: u32,
    is_enough: impl Fn(&Settled<Json>) -> bool + Send,
) -> Result<Settled<Json>, Illegal> {
    let instances = &worker.instances;
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
        let head = instances.head().await;
        if let Some(loaded) = until_told(|| instances.load(name)).await?
            && let Some(settled) = loaded.told(|outputs| run.output(outputs))
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
        let (names, store) = (&instances.names, &instances.store);
        let mut active = store.watch(&names.active(shard, name), head);
        let mut ended = store.watch(&names.ended(name), head);
        tokio::select! {
            biased;
            // What is wrong shows at the next look.
            _ = active.next() => {}
            _ = ended.next() => {}
            () = sleep(LOOK) => {}
        }
    }
}
