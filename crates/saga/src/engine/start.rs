//! Instances: made, found, and waited for.

use std::sync::Arc;

use backstay_store::{Batch, CommitError, Fence, Invalid, Position, Put, Unavailable, Version};
use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};

use super::calls::{Calls, SLACK};
use super::instance::{Instance, Stop};
use super::instances::{LoadError, Loaded, Refused, until_told};
use super::names::{MAX_ID, Name};
use super::settled::{Told, Why};
use super::upgrade;
use super::worker::{Slot, Worker};
use crate::Json;
use crate::define::Run;
use crate::log::{Entry, Parent, Record, Start};
use crate::machine::{Illegal, State};
use crate::note::{Note, Standing};

/// Why an instance was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The id or the input can't be one.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is an instance of this id with another input.
    #[error("saga {saga} has an instance {id:?} with another input")]
    OtherInput {
        /// The saga.
        saga: String,
        /// The instance.
        id: String,
    },
    /// The engine does not know the saga: register it when the engine is built.
    #[error("saga {saga} in this version is not one that the engine runs")]
    NotRegistered {
        /// The saga.
        saga: String,
    },
    /// The store can't say, or can't do it now. Start it again: the same id is the same instance.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// There is one of this id, and its log can't be.
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            LoadError::Illegal(illegal) => Self::Illegal(illegal),
        }
    }
}

/// Starts an instance, unless it is there already with the same input.
pub(super) async fn start<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    run: &Arc<dyn Run<App>>,
    name: &Name,
    shard: u32,
    input: Json,
    parent: Option<Parent>,
) -> Result<Option<watch::Receiver<Told>>, StartError> {
    if parent.is_none() {
        check(name)?;
    }
    if !worker.sagas.contains_key(run.fingerprint()) {
        let saga = name.saga.to_string();
        return Err(StartError::NotRegistered { saga });
    }
    let bytes = input.text().len();
    let limit = worker.store().limits().value_bytes.saturating_sub(SLACK);
    if bytes > limit {
        let limit = format!("must have at most {limit} bytes as JSON");
        return Err(Invalid::new("input", format!("{bytes} bytes"), limit).into());
    }
    let begun = Start {
        version: run.graph().version,
        graph: run.fingerprint().clone(),
        shard,
        input,
        parent,
    };
    let place = match worker.places.clone().try_acquire_owned() {
        Ok(place) => Some(place),
        // One that is there already needs none.
        Err(_) => match found(worker, name, &begun).await? {
            Some(found) => return Ok(found),
            // One that waits for a saga within it has left its own.
            None => worker.places.clone().acquire_owned().await.ok(),
        },
    };
    match start_here(worker, run, name, &begun, place).await? {
        Here::Started(told) => return Ok(Some(told)),
        Here::IsThere => {}
        Here::Elsewhere => match start_anywhere(worker, name, &begun).await {
            Ok(()) => {
                ensure(worker, name, shard);
                return Ok(None);
            }
            Err(CommitError::Conflict(_)) => {}
            Err(CommitError::Invalid(invalid)) => return Err(invalid.into()),
            Err(CommitError::Unavailable(unavailable)) => return Err(unavailable.into()),
            Err(error) => unreachable!("it has no fence: {error}"),
        },
    }
    Ok(found(worker, name, &begun).await?.flatten())
}

/// How an instance is followed that is there already; none if there is none.
async fn found<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    name: &Name,
    start: &Start,
) -> Result<Option<Option<watch::Receiver<Told>>>, StartError> {
    let Some(first) = worker.instances.start(name).await? else {
        return Ok(None);
    };
    if first.input.is_same(&start.input) {
        // It may have been started a moment ago, by a worker that has left it to us.
        ensure(worker, name, start.shard);
        return Ok(Some(worker.told(name)));
    }
    Err(StartError::OtherInput {
        saga: name.saga.to_string(),
        id: name.id.to_string(),
    })
}

fn check(name: &Name) -> Result<(), Invalid> {
    let is_strange = |char: char| char.is_control() || char == '/';
    if (1..=MAX_ID).contains(&name.id.len()) && !name.id.contains(is_strange) {
        return Ok(());
    }
    let limit = format!("must have 1 to {MAX_ID} bytes, none of them `/` or a control character");
    Err(Invalid::new("id", format!("{:?}", name.id), limit))
}

/// What came of a start by the worker that runs it.
enum Here {
    Started(watch::Receiver<Told>),
    IsThere,
    /// The shard is not this worker's.
    Elsewhere,
}

/// Starts it and its first steps in one commit.
async fn start_here<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    run: &Arc<dyn Run<App>>,
    name: &Name,
    start: &Start,
    place: Option<OwnedSemaphorePermit>,
) -> Result<Here, StartError> {
    let shard = start.shard;
    let fence = worker.fence(shard).filter(|_| worker.may_begin(shard));
    let (Some(fence), Some(entry)) = (fence, Entered::new(worker, name, shard)) else {
        return Ok(Here::Elsewhere);
    };
    let Ok(mut instance) = entry.instance(run.clone(), start, fence) else {
        let limit = "must be what the saga's input type reads";
        return Err(Invalid::new("input", "(not shown)", limit).into());
    };
    let now = worker.now();
    let mut entries = vec![Entry::Start(start.clone())];
    let mut next = State::clone(&instance.state);
    let Ok(more) = next.advance(now, &entries) else {
        unreachable!("a graph that was checked begins");
    };
    entries.extend(more);
    next.count();
    let Ok(draft) = instance.draft(now) else {
        return Ok(Here::Elsewhere);
    };
    let batch = draft.batch(entries.clone(), &next);
    match worker.store().commit(batch).await {
        Ok(commit) => {
            let active = worker.names().active(shard, name);
            entry.saw(commit.revision(&active).unwrap_or(commit.position));
            instance.written(&commit, next);
            instance.begin_all(&entries);
            let told = entry.told.subscribe();
            entry.spawn(|entry| async move {
                let stop = instance.drive(place).await;
                entry.stopped(stop).await;
            });
            Ok(Here::Started(told))
        }
        Err(CommitError::Conflict(_)) => Ok(Here::IsThere),
        Err(CommitError::Fenced { token, .. }) => {
            worker.lose(shard, token);
            Ok(Here::Elsewhere)
        }
        Err(CommitError::Invalid(invalid)) => Err(invalid.into()),
        // If it is there, this worker will find it.
        Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
        Err(error) => unreachable!("a commit has no other error: {error}"),
    }
}

/// Starts it for the worker that has its shard.
async fn start_anywhere<App>(
    worker: &Worker<App>,
    name: &Name,
    start: &Start,
) -> Result<(), CommitError> {
    let record = Record {
        at: worker.now(),
        epoch: None,
        entries: vec![Entry::Start(start.clone())],
    };
    let instances = &worker.instances;
    let active = instances.names.active(start.shard, name);
    let batch = instances
        .append(name, Version::START, &record)
        .put(active, Note::new(Standing::Running, worker.now()).bytes());
    instances.store.commit(batch).await.map(drop)
}

/// A place among the instances that run here, kept until it is dropped.
struct Entered<App: Send + Sync + 'static> {
    worker: Arc<Worker<App>>,
    name: Name,
    shard: u32,
    nudge: Arc<Notify>,
    told: watch::Sender<Told>,
}

impl<App: Send + Sync + 'static> Entered<App> {
    /// None if it runs here already.
    fn new(worker: &Arc<Worker<App>>, name: &Name, shard: u32) -> Option<Self> {
        let mut slots = worker.slots();
        if slots.contains_key(name) {
            return None;
        }
        let nudge = Arc::new(Notify::new());
        let (told, receiver) = watch::channel(None);
        let slot = Slot {
            shard,
            nudge: nudge.clone(),
            told: receiver,
            seen: Position::START,
            is_wanted: false,
            abort: None,
        };
        slots.insert(name.clone(), slot);
        Some(Self {
            worker: worker.clone(),
            name: name.clone(),
            shard,
            nudge,
            told,
        })
    }

    fn instance(
        &self,
        run: Arc<dyn Run<App>>,
        start: &Start,
        fence: Fence,
    ) -> Result<Instance<App>, crate::json::Unreadable> {
        Ok(Instance {
            worker: self.worker.clone(),
            name: self.name.clone(),
            stream: self.worker.names().stream(&self.name).into(),
            shard: self.shard,
            input: run.input(&start.input)?,
            state: Arc::new(State::new(run.graph().clone())),
            run,
            version: Version::START,
            fence,
            nudge: self.nudge.clone(),
            told: self.told.clone(),
            calls: Calls::default(),
            locals: mpsc::unbounded_channel(),
            #[cfg(feature = "test-util")]
            held_back: Vec::new(),
        })
    }

    fn saw(&self, change: Position) {
        if let Some(slot) = self.worker.slots().get_mut(&self.name) {
            slot.seen = change;
        }
    }

    /// Runs something in a task that ends when the shard is lost.
    fn spawn<F>(self, task: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (worker, name, nudge) = (self.worker.clone(), self.name.clone(), self.nudge.clone());
        let task = tokio::spawn(task(self));
        let mut slots = worker.slots();
        match slots.get_mut(&name) {
            Some(slot) if Arc::ptr_eq(&slot.nudge, &nudge) => {
                slot.abort = Some(task.abort_handle());
            }
            // It has ended, or its shard was lost meanwhile.
            _ => task.abort(),
        }
    }

    async fn stopped(self, stop: Stop) {
        // Somebody has to look into it; the others go on.
        let why = match stop {
            Stop::Over | Stop::Gone => None,
            Stop::Fenced(token) => return self.worker.lose(self.shard, token),
            Stop::Illegal(illegal) => Some(illegal.to_string()),
            Stop::Unfit(invalid) => Some(invalid.to_string()),
        };
        if let Some(why) = why
            && let Some(fence) = self.worker.fence(self.shard)
        {
            mark(&self, fence, Standing::Unreadable, Some(&why)).await;
        }
        let (worker, name, shard) = (self.worker.clone(), self.name.clone(), self.shard);
        if self.leave() {
            ensure(&worker, &name, shard);
        }
    }

    /// Whether somebody wanted it looked at after its last look.
    fn leave(self) -> bool {
        let mut slots = self.worker.slots();
        let is_wanted = match slots.get(&self.name) {
            Some(slot) if Arc::ptr_eq(&slot.nudge, &self.nudge) => {
                slots.remove(&self.name).is_some_and(|slot| slot.is_wanted)
            }
            _ => false,
        };
        is_wanted && self.nudge.notified().now_or_never().is_some()
    }
}

impl<App: Send + Sync + 'static> Drop for Entered<App> {
    fn drop(&mut self) {
        let mut slots = self.worker.slots();
        // Another may have come in its place.
        let is_own = |slot: &Slot| Arc::ptr_eq(&slot.nudge, &self.nudge);
        if slots.get(&self.name).is_some_and(is_own) {
            slots.remove(&self.name);
        }
        drop(slots);
        if !self.worker.may_begin(self.shard) {
            // It may have been the last that the shard waits for.
            self.worker.shards_changed.notify_one();
        }
    }
}

/// Runs an instance of one of this worker's shards, if it does not run yet.
pub(super) fn ensure<App: Send + Sync + 'static>(
    worker: &Arc<Worker<App>>,
    name: &Name,
    shard: u32,
) {
    if !worker.may_begin(shard) {
        return;
    }
    let Some(entry) = Entered::new(worker, name, shard) else {
        return;
    };
    entry.spawn(|entry| async move {
        let stop = take_over(&entry).await.unwrap_or_else(|stop| stop);
        entry.stopped(stop).await;
    });
}

/// Goes on where a worker before this one has stopped.
async fn take_over<App: Send + Sync + 'static>(entry: &Entered<App>) -> Result<Stop, Stop> {
    let worker = &entry.worker;
    let Some(loaded) = until_told(|| worker.instances.load(&entry.name)).await? else {
        return Ok(Stop::Over);
    };
    let fence = worker.fence(entry.shard).ok_or(Stop::Over)?;
    let graph = loaded.state.graph.fingerprint();
    let Some(run) = worker.sagas.get(&graph) else {
        match upgrade::of(worker, &loaded.state) {
            Ok(migrate) => return migrated(entry, &loaded, migrate, fence).await,
            Err(why) => mark(entry, fence, Standing::NeedsUpgrade, Some(&why)).await,
        }
        return Ok(Stop::Over);
    };
    let instance = entry.instance(run.clone(), &loaded.start, fence.clone());
    let mut instance = match instance {
        Ok(instance) => instance,
        Err(unreadable) => {
            let why = format!("its input can't be read: {}", unreadable.told());
            mark(entry, fence, Standing::Unreadable, Some(&why)).await;
            return Ok(Stop::Over);
        }
    };
    (instance.state, instance.version) = (Arc::new(loaded.state), loaded.version);
    let place = worker.places.clone().acquire_owned().await.ok();
    if let Some((standing, why)) = standing(&instance.state) {
        mark(entry, fence, standing, why.as_deref()).await;
    }
    instance.recover().await?;
    Ok(instance.drive(place).await)
}

/// Moves an instance to another graph. Then it is looked at again.
async fn migrated<App: Send + Sync + 'static>(
    entry: &Entered<App>,
    loaded: &Loaded,
    migrate: Entry,
    fence: Fence,
) -> Result<Stop, Stop> {
    let worker = &entry.worker;
    let token = fence.token;
    let record = Record {
        at: worker.now(),
        epoch: Some(token),
        entries: vec![migrate],
    };
    let active = worker.names().active(entry.shard, &entry.name);
    let batch = worker
        .instances
        .append(&entry.name, loaded.version, &record);
    let batch = batch.put(active, Note::new(Standing::Running, worker.now()).bytes());
    match worker.instances.commit(batch.fenced(fence)).await {
        Ok(_) | Err(Refused::Conflict) => Box::pin(take_over(entry)).await,
        Err(Refused::Fenced) => Err(Stop::Fenced(token)),
        Err(Refused::Invalid(invalid)) => Err(Stop::Unfit(invalid)),
        Err(Refused::Gone) => Err(Stop::Gone),
    }
}

/// How an instance stands that has not ended, and why.
fn standing(state: &State) -> Option<(Standing, Option<String>)> {
    match &state.parked {
        Some(cause) => Some((Standing::Parked, Some(Why::of(cause, state).to_string()))),
        None if state.outcome().is_none() => Some((Standing::Running, None)),
        None => None,
    }
}

/// Says beside an instance how it stands, unless that is said already.
async fn mark<App: Send + Sync + 'static>(
    entry: &Entered<App>,
    fence: Fence,
    standing: Standing,
    why: Option<&str>,
) {
    let (store, names) = (entry.worker.store(), entry.worker.names());
    let active = names.active(entry.shard, &entry.name);
    let Ok(Some(known)) = store.get(&active).await else {
        return;
    };
    let new = Note::new(standing, entry.worker.now());
    let new = match why {
        Some(why) => new.because(why),
        None => new,
    };
    let is_said = serde_json::from_slice(&known.value)
        .is_ok_and(|note: Note| (note.state, &note.why) == (new.state, &new.why));
    if !is_said {
        let put = Put::new(new.bytes()).expecting(known.revision);
        // Whoever looks next says it again.
        let _ = store
            .commit(Batch::new().put(active, put).fenced(fence))
            .await;
    }
}
