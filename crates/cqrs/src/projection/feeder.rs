//! Feeds the generations of a read model that there are, and switches from one to the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Batch, Position, Store, Unavailable};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::checkpoint::told;
use super::generation::{Generations, id};
use crate::consumer::{Running, SinkError, dead};

/// What is done for a generation.
pub(super) trait Feeds: Send + Sync + 'static {
    fn start(&self, generation: u32) -> Running;

    /// Takes away what a generation that is read no more has left behind; the batch, which says so, goes last or with it.
    fn discard(&self, generation: u32, gone: Batch) -> BoxFuture<'_, Result<(), SinkError>>;
}

/// Feeds until it is dropped.
#[derive(Debug)]
pub(super) struct Feeder {
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Feeder {
    pub(super) fn start(store: Store, log: Store, name: String, feeds: impl Feeds) -> Self {
        let stop = Arc::new(Notify::new());
        let task = tokio::spawn(supervise(store, log, name, feeds, stop.clone()));
        Self { stop, task }
    }

    pub(super) async fn stop(mut self) {
        self.stop.notify_one();
        // It does not panic: what users gave is contained.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const LOOK: Duration = Duration::from_millis(250);
/// Whoever still reads the one before is done by then.
const GRACE: Duration = Duration::from_secs(30);

async fn supervise(store: Store, log: Store, name: String, feeds: impl Feeds, stop: Arc<Notify>) {
    let mut running: Vec<(u32, Running)> = Vec::new();
    // Since when this node knows that they are read no more.
    let mut retired: HashMap<u32, Instant> = HashMap::new();
    loop {
        if let Ok((now, loaded)) = Generations::load(&store, &name).await {
            let wanted = [Some(now.live), now.building];
            running.retain(|(generation, _)| wanted.contains(&Some(*generation)));
            for generation in wanted.into_iter().flatten() {
                if !running.iter().any(|(other, _)| *other == generation) {
                    running.push((generation, feeds.start(generation)));
                }
            }
            if let Some(next) = now.building
                && let Ok(true) = has_caught_up(&store, &log, &name, now.live, next).await
            {
                let retired = [&now.retired[..], &[now.live]].concat();
                let switched = Generations {
                    live: next,
                    building: None,
                    retired,
                };
                // Where it can't be put it is tried again.
                let _ = switched.put(&store, &name, loaded).await;
                continue;
            }
            for old in &now.retired {
                let since = *retired.entry(*old).or_insert_with(Instant::now);
                if since.elapsed() < GRACE {
                    continue;
                }
                let others = now.retired.iter().copied().filter(|other| other != old);
                let left = Generations {
                    retired: others.collect(),
                    ..now.clone()
                };
                // What is left takes room, and nothing else: what can't be taken away now is tried again as late.
                retired.insert(*old, Instant::now());
                if dead::forget(&log, &id(&name, *old)).await.is_ok() {
                    let _ = feeds.discard(*old, left.batch(&name, loaded)).await;
                }
                break;
            }
        }
        tokio::select! {
            biased;
            () = stop.notified() => break,
            () = sleep(LOOK) => {}
        }
    }
    for (_, running) in running {
        running.stop().await;
    }
}

/// Whether the new one shows all that the live one does.
async fn has_caught_up(
    store: &Store,
    log: &Store,
    name: &str,
    live: u32,
    next: u32,
) -> Result<bool, Unavailable> {
    let live = told(store, &id(name, live)).await?.position;
    let next = told(store, &id(name, next)).await?.position;
    if next < live {
        return Ok(false);
    }
    // One that has nothing to take has begun all the same.
    Ok(next > 0 || log.read_all(Position::START, 1).await?.is_empty())
}
