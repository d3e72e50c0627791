//! Shards: taken, held, given up.

use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Batch, Claim, ClaimError, Expected, Put, Unavailable};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::names::{Name, SHARDS};
use super::start::ensure;
use super::worker::{Held, Worker};

/// Holds this worker's shards for as long as it runs.
pub(super) async fn keep<App: Send + Sync + 'static>(worker: Arc<Worker<App>>) {
    loop {
        let between = worker.options.ttl / 3;
        // Workers that were started together do not ask together.
        let wait = between.mul_f64(0.8 + 0.2 * fastrand::f64());
        tokio::select! {
            biased;
            () = worker.shards_changed.notified() => {}
            () = sleep(wait) => {}
        }
        round(&worker).await;
    }
}

/// Renews what is held, takes what nobody has, gives up what is too much.
pub(super) async fn round<App: Send + Sync + 'static>(worker: &Arc<Worker<App>>) {
    renew(worker).await;
    let workers = match announce(worker).await {
        Ok(workers) => workers.max(1),
        // Who is there is not known: all stays as it is.
        Err(_) => return,
    };
    let share = if worker.is_draining() {
        0
    } else {
        (SHARDS as usize).div_ceil(workers)
    };
    let held = worker.shards().len();
    leave_those_beyond(worker, share).await;
    if held < share {
        take(worker, share - held).await;
    }
}

async fn renew<App: Send + Sync + 'static>(worker: &Arc<Worker<App>>) {
    let ttl = worker.options.ttl;
    let held: Vec<Held> = worker.shards().values().cloned().collect();
    let renewals = held.into_iter().map(|held| async move {
        let asked = Instant::now();
        (worker.store().renew(&held.claim, ttl).await, held, asked)
    });
    for (renewed, held, asked) in join_all(renewals).await {
        let shard = held.shard;
        match renewed {
            Ok(claim) => {
                if let Some(held) = worker.shards().get_mut(&shard) {
                    held.until = until(asked, ttl);
                    held.claim = claim;
                }
            }
            Err(ClaimError::Lost { epoch, .. }) => worker.lose(shard, epoch),
            Err(_) if held.until <= Instant::now() => worker.lose(shard, held.claim.epoch),
            Err(_) => {}
        }
    }
}

/// Less a tenth: the other side's clock may be faster, and the answer was on its way.
fn until(asked: Instant, ttl: Duration) -> Instant {
    asked + ttl - ttl / 10
}

/// Says that this worker is there, and counts who is.
async fn announce<App>(worker: &Worker<App>) -> Result<usize, Unavailable> {
    let (store, names) = (worker.store(), worker.names());
    let own = names.worker(worker.owner);
    let here = Put::new("{}").expires_after(worker.options.ttl);
    let batch = if worker.is_draining() {
        Batch::new().delete(own, Expected::Any)
    } else {
        Batch::new().put(own, here)
    };
    // Whether it is there shows in the list.
    let _ = store.commit(batch).await;
    Ok(store.list(&names.workers(), "", 10_000).await?.len())
}

/// Takes shards that nobody holds.
pub(super) async fn take<App: Send + Sync + 'static>(worker: &Arc<Worker<App>>, wanted: usize) {
    let first = fastrand::u32(..SHARDS);
    let mut taken = 0;
    for shard in (0..SHARDS).map(|shard| (first + shard) % SHARDS) {
        if taken >= wanted || worker.is_draining() {
            return;
        }
        if worker.shards().contains_key(&shard) {
            continue;
        }
        let name = worker.names().claim(shard);
        // Asking who holds it costs no write.
        if !matches!(worker.store().holder(&name).await, Ok(None)) {
            continue;
        }
        let ttl = worker.options.ttl;
        let asked = Instant::now();
        if let Ok(claim) = worker.store().claim(&name, worker.owner, ttl).await {
            taken += 1;
            hold(worker, shard, claim, until(asked, ttl));
        }
    }
}

fn hold<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    shard: u32,
    claim: Claim,
    until: Instant,
) {
    let held = Held {
        shard,
        fence: claim.fence(),
        claim,
        until,
        leaves: false,
    };
    worker.shards().insert(shard, held);
    look_through(worker, shard);
}

/// Beside the renewals, which must not wait for it. It ends with the shard, or with the engine.
fn look_through<App: Send + Sync + 'static>(worker: &Arc<Worker<App>>, shard: u32) {
    let worker = worker.clone();
    tokio::spawn(async move { scan(&worker, shard).await });
}

/// Runs what a shard has that has not ended.
pub(super) async fn scan<App: Send + Sync + 'static>(worker: &Arc<Worker<App>>, shard: u32) {
    let prefix = worker.names().actives_of(shard);
    let mut after = String::new();
    while worker.may_begin(shard) {
        match worker.instances.keys(&prefix, &after).await {
            Ok(page) => {
                let Some(last) = page.last() else {
                    return;
                };
                after.clone_from(&last.key);
                let names = page
                    .iter()
                    .filter_map(|entry| worker.names().read_active(&entry.key));
                names.for_each(|(shard, name): (u32, Name)| ensure(worker, &name, shard));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

const AGAIN: Duration = Duration::from_millis(100);

/// Lets others have the shards beyond its share: what runs there ends its calls first. Others that were to go stay.
async fn leave_those_beyond<App: Send + Sync + 'static>(worker: &Arc<Worker<App>>, share: usize) {
    let (mut leaving, mut staying) = (Vec::new(), Vec::new());
    {
        let mut shards = worker.shards();
        let mut beyond = shards.len().saturating_sub(share);
        let mut held: Vec<&mut Held> = shards.values_mut().collect();
        held.sort_by_key(|held| !held.leaves);
        for held in held {
            let leaves = beyond > 0;
            beyond = beyond.saturating_sub(1);
            if held.leaves && !leaves {
                staying.push(held.shard);
            }
            held.leaves = leaves;
            if leaves {
                leaving.push(held.clone());
            }
        }
    }
    worker.nudge_all(|shard| leaving.iter().any(|held| held.shard == shard));
    for held in leaving {
        let is_empty = !worker.slots().values().any(|slot| slot.shard == held.shard);
        if is_empty {
            release(worker, &held).await;
        }
    }
    for shard in staying {
        worker.nudge_all(|other| other == shard);
        look_through(worker, shard);
    }
}

/// Gives a shard back, so that others need not wait until it has expired.
pub(super) async fn release<App>(worker: &Worker<App>, held: &Held) {
    worker.shards().remove(&held.shard);
    // Else it expires.
    let _ = worker.store().release(&held.claim).await;
}

/// This worker is no longer there.
pub(super) async fn leave<App>(worker: &Worker<App>) {
    let held: Vec<Held> = worker.shards().values().cloned().collect();
    join_all(held.iter().map(|held| release(worker, held))).await;
    let own = worker.names().worker(worker.owner);
    // Else it expires.
    let _ = worker
        .store()
        .commit(Batch::new().delete(own, Expected::Any))
        .await;
}
