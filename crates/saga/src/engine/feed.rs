//! What others want looked at: instances that were started or changed elsewhere.

use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Position, WatchError};
use tokio::time::{Instant, sleep, timeout_at};

use super::keeper::scan;
use super::start::ensure;
use super::worker::Worker;

/// All is looked through once in so long, whatever hints were lost.
const SCAN_EVERY: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(100);

/// Between two looks. Most changes are this worker's own, and each commit would have it look.
const REST: Duration = Duration::from_millis(5);

/// Follows the keys of instances that have not ended.
pub(super) async fn follow<App: Send + Sync + 'static>(worker: Arc<Worker<App>>, after: Position) {
    let prefix = worker.names().actives();
    let mut watch = worker.store().watch(&prefix, after);
    let mut scan_at = Instant::now() + SCAN_EVERY;
    loop {
        match timeout_at(scan_at, watch.next()).await {
            Ok(Ok(changes)) => {
                for change in changes {
                    let Some((shard, name)) = worker.names().read_active(&change.key) else {
                        continue;
                    };
                    // One whose key is gone has ended, perhaps by a person's word.
                    if !worker.nudge(&name, &change) && change.value.is_some() {
                        ensure(&worker, &name, shard);
                    }
                    worker.hints.tell(&name);
                }
                sleep(REST).await;
            }
            Ok(Err(WatchError::Forgotten { .. })) => {
                // What was missed is found by looking through all.
                let Ok(head) = worker.instances.head().await else {
                    return;
                };
                watch = worker.store().watch(&prefix, head);
                scan_at = Instant::now();
                worker.hints.tell_all();
            }
            Ok(Err(WatchError::Unavailable(gone))) if gone.is_lasting() => return,
            Ok(Err(_)) => sleep(AGAIN).await,
            Err(_) => {
                let shards: Vec<u32> = worker.shards().keys().copied().collect();
                for shard in shards {
                    scan(&worker, shard).await;
                }
                scan_at = Instant::now() + SCAN_EVERY;
            }
        }
    }
}
