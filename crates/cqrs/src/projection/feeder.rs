//! Feeds the generations of a read model that there are, and switches from one to the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Batch, CommitError, Conflict, Expected, Position, Store, Unavailable};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::checkpoint;
use super::generation::{Generations, id};
use crate::consumer::{SinkError, dead};
use crate::task::Task;

/// What is done for a generation.
pub(super) trait Feeds: Send + Sync + 'static {
    fn start(&self, generation: u32) -> Task;

    /// Takes away what a generation that is read no more has left behind; the batch, which says so, goes last or with it.
    fn discard(&self, generation: u32, gone: Batch) -> BoxFuture<'_, Result<(), SinkError>>;
}

/// Feeds whichever generations there are.
pub(super) fn feed(store: Store, log: Store, name: String, feeds: impl Feeds) -> Task {
    // It does not panic: what users gave is contained.
    Task::begin(|stop| supervise(store, log, name, feeds, stop))
}

const LOOK: Duration = Duration::from_millis(250);
/// Whoever still reads the one before is done by then.
const GRACE: Duration = Duration::from_secs(30);

async fn supervise(store: Store, log: Store, name: String, feeds: impl Feeds, stop: Arc<Notify>) {
    let mut running: Vec<(u32, Task)> = Vec::new();
    // Since when this node knows that they are read no more.
    let mut retired: HashMap<u32, Instant> = HashMap::new();
    'looks: loop {
        if let Ok((now, loaded)) = Generations::load(&store, &name).await {
            let wanted = [Some(now.live), now.building];
            let is_wanted = |generation: u32| wanted.contains(&Some(generation));
            let (stay, go): (Vec<_>, Vec<_>) = running
                .into_iter()
                .partition(|(generation, _)| is_wanted(*generation));
            running = stay;
            for (_, running) in go {
                running.stop().await;
            }
            for generation in wanted.into_iter().flatten() {
                if !running.iter().any(|(other, _)| *other == generation) {
                    running.push((generation, feeds.start(generation)));
                }
            }
            if let Some(next) = now.building
                && let Ok(true) = switch(&store, &log, &name, (&now, loaded), next).await
            {
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
                let discard = async {
                    if dead::forget(&log, &id(&name, *old)).await.is_ok() {
                        let _ = feeds.discard(*old, left.batch(&name, loaded)).await;
                    }
                };
                tokio::select! {
                    biased;
                    () = stop.notified() => break 'looks,
                    () = discard => {}
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

/// On a busy log the live one may move between the question and the switch.
const SWITCHES: u32 = 10;

/// Switches to a generation that shows all that the live one does. False if it does not, or somebody else was first.
async fn switch(
    store: &Store,
    log: &Store,
    name: &str,
    (now, loaded): (&Generations, Option<Position>),
    next: u32,
) -> Result<bool, Unavailable> {
    let (live, next_id) = (id(name, now.live), id(name, next));
    for _ in 0..SWITCHES {
        let (shown, revision) = checkpoint::there(store, &live).await?;
        let (built, _) = checkpoint::there(store, &next_id).await?;
        // One that was restored from a backup, or whose log was, is not waited for.
        let wanted = Position::new(shown.position).min(log.head().await?);
        // One that has nothing to take has begun all the same.
        let has_begun = built.position > 0 || log.read_all(Position::START, 1).await?.is_empty();
        if Position::new(built.position) < wanted || !has_begun {
            return Ok(false);
        }
        // What only the new one has set aside, it does not show.
        let set_aside = dead::names(log, &next_id).await?;
        if !set_aside.is_empty() && !set_aside.is_subset(&dead::names(log, &live).await?) {
            return Ok(false);
        }
        let switched = Generations {
            live: next,
            building: None,
            retired: [&now.retired[..], &[now.live]].concat(),
            ..now.clone()
        };
        // Who was told that the live one shows something finds it in the new one.
        let key = checkpoint::key(&live);
        let expected = revision.map_or(Expected::Absent, Expected::Exactly);
        let batch = switched.batch(name, loaded).expecting(key, expected);
        match store.commit(batch).await {
            Ok(_) => return Ok(true),
            Err(CommitError::Conflict(Conflict::Key { key, .. }))
                if key == checkpoint::key(&live) => {}
            Err(CommitError::Unavailable(unavailable)) => return Err(unavailable),
            Err(_) => return Ok(false),
        }
    }
    Ok(false)
}
