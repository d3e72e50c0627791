//! One instance while it runs: decide, write down, call, wait.

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{BatchId, Commit, CommitError, Fence, Invalid, Timestamp, Version};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::sleep;

use super::calls::{self, Calls, Ended};
use super::draft::Draft;
use super::instances::{LoadError, MayPass, Refused};
use super::names::Name;
use super::settled::{Told, told};
use super::worker::Worker;
use crate::Json;
use crate::cx::Purpose;
use crate::define::{Input, Run};
use crate::error::StepError;
use crate::graph::Work;
use crate::local::{Local, Locals, NotLocal};
use crate::log::Entry;
use crate::machine::{Back, Forward, Illegal, LARGE, State, Step};
#[cfg(feature = "test-util")]
use crate::testkit::Flaw;

/// An instance and the worker that runs it.
pub(super) struct Instance<App> {
    pub(super) worker: Arc<Worker<App>>,
    pub(super) name: Name,
    /// The name of its stream.
    pub(super) stream: Arc<str>,
    pub(super) shard: u32,
    pub(super) run: Arc<dyn Run<App>>,
    pub(super) input: Input,
    /// As it is in the store.
    pub(super) state: Arc<State>,
    pub(super) version: Version,
    /// Under this its last record was written.
    pub(super) fence: Fence,
    pub(super) nudge: Arc<Notify>,
    pub(super) told: watch::Sender<Told>,
    pub(super) calls: Calls,
    /// What calls want committed with their end.
    pub(super) locals: (Locals, mpsc::UnboundedReceiver<Local>),
    /// What a broken worker writes later than it should.
    #[cfg(feature = "test-util")]
    pub(super) held_back: Vec<Entry>,
}

/// Why an instance does not run here any more.
#[derive(Debug)]
pub(super) enum Stop {
    /// It has ended, or another worker goes on.
    Over,
    /// Another worker has its shard, under a higher epoch.
    Fenced(u64),
    /// Its log can't be.
    Illegal(Illegal),
    /// The store does not take what would have to be written.
    Unfit(Invalid),
    /// The store says no more.
    Gone,
}

impl From<LoadError> for Stop {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Illegal(illegal) => Self::Illegal(illegal),
            LoadError::Unavailable(_) => Self::Gone,
        }
    }
}

impl From<Illegal> for Stop {
    fn from(illegal: Illegal) -> Self {
        Self::Illegal(illegal)
    }
}

/// Waits between two tries to reach the store.
const AGAIN: Duration = Duration::from_millis(100);

impl<App: Send + Sync + 'static> Instance<App> {
    /// Runs it until it has ended or is another worker's.
    pub(super) async fn drive(mut self, mut place: Option<OwnedSemaphorePermit>) -> Stop {
        let mut results = Vec::new();
        loop {
            if let Err(stop) = self.go_on(std::mem::take(&mut results)).await {
                return stop;
            }
            if !self.calls.has_own(&self.state) {
                if self.calls.is_empty() && !self.worker.may_begin(self.shard) {
                    return Stop::Over;
                }
                // Others may run while it waits.
                place = None;
            }
            match self.next().await {
                Next::Ended(ended) => results = ended,
                Next::Look => {
                    if let Err(stop) = self.catch_up().await {
                        return stop;
                    }
                }
                Next::Local(local) => {
                    if let Err(stop) = self.end_with(local).await {
                        return stop;
                    }
                }
                Next::Time => {}
            }
            if place.is_none() {
                let free = self.worker.places.clone().acquire_owned();
                place = self.calls.during(free).await.ok();
            }
        }
    }

    /// Writes down what has ended and what follows, then begins what was written.
    async fn go_on(&mut self, results: Vec<Ended>) -> Result<(), Stop> {
        // Several large outputs are not for one record.
        let mut results = results;
        let mut bytes = 0;
        let large = results.iter().position(|ended| {
            bytes += ended.bytes();
            bytes > LARGE
        });
        if let Some(large) = large
            && large + 1 < results.len()
        {
            let rest = results.split_off(large + 1);
            Box::pin(self.go_on(results)).await?;
            return Box::pin(self.go_on(rest)).await;
        }
        let (run, worker) = (self.run.clone(), self.worker.clone());
        let ended = |state: &mut State, now: Timestamp| {
            let mut entries = Vec::new();
            for ended in &results {
                let next = worker.broken(ended.entries(state, run.as_ref(), now));
                next.iter()
                    .try_for_each(|entry| state.apply_entry(entry, now))?;
                entries.extend(next);
            }
            Ok(entries)
        };
        self.write(ended).await
    }

    /// Takes over what a worker before this one has left.
    pub(super) async fn recover(&mut self) -> Result<(), Stop> {
        // What only waits has lost nothing.
        self.begin_missing(|work| *work != Work::Call);
        let (run, worker) = (self.run.clone(), self.worker.clone());
        let lost = |state: &mut State, now: Timestamp| {
            let entries = worker.broken(state.recover(|step| run.policy(step).clone(), now));
            entries
                .iter()
                .try_for_each(|entry| state.apply_entry(entry, now))?;
            Ok(entries)
        };
        self.write(lost).await
    }

    /// Writes what is found and what follows from it, found anew whenever somebody else was first, and begins what was
    /// written.
    async fn write(
        &mut self,
        find: impl Fn(&mut State, Timestamp) -> Result<Vec<Entry>, Illegal>,
    ) -> Result<(), Stop> {
        let written = loop {
            if self.state.outcome().is_some() {
                self.tell();
                return Err(Stop::Over);
            }
            let now = self.worker.now();
            let mut next = State::clone(&self.state);
            let mut entries = find(&mut next, now)?;
            if self.worker.may_begin(self.shard) {
                let more = next.advance(now, &entries)?;
                entries.extend(more);
            }
            if entries.is_empty() {
                break entries;
            }
            next.count();
            let to_write = entries.clone();
            #[cfg(feature = "test-util")]
            let to_write = self.broken(to_write);
            let batch = self.draft(now)?.batch(to_write, &next);
            let committed = self.worker.instances.commit(batch);
            match self.calls.during(committed).await {
                Ok(commit) => {
                    self.written(&commit, next);
                    break entries;
                }
                Err(Refused::Conflict) => self.catch_up().await?,
                Err(Refused::Fenced) => return Err(Stop::Fenced(self.fence.token)),
                Err(Refused::Invalid(invalid)) => return Err(Stop::Unfit(invalid)),
                Err(Refused::Gone) => return Err(Stop::Gone),
            }
        };
        self.begin_all(&written);
        if self.state.outcome().is_some() {
            return Err(Stop::Over);
        }
        Ok(())
    }

    /// Commits the end of a step together with the rows of its work.
    async fn end_with(&mut self, local: Local) -> Result<(), Stop> {
        let Local {
            step,
            purpose,
            attempt,
            output,
            commit,
            reply,
        } = local;
        let is_undo = purpose == Purpose::Undo;
        let is_under_way = |state: &State| {
            let Step {
                forward,
                back,
                attempts,
                undo_attempts,
                ..
            } = &state.steps[step];
            if is_undo {
                *back == Back::Running && *undo_attempts == attempt
            } else {
                matches!(forward, Forward::Running(_)) && *attempts == attempt
            }
        };
        if !is_under_way(&self.state) {
            reply(Err(StepError::unknown("the attempt is over")));
            return Ok(());
        }
        let expected = if is_undo {
            TypeId::of::<()>()
        } else {
            self.run.output_type(step)
        };
        if output != expected {
            reply(Err(StepError::failed(
                "commit_with has to answer what the step does",
            )));
            return Ok(());
        }
        let mut id = BatchId::new();
        loop {
            if !is_under_way(&self.state) {
                reply(self.decided(step, is_undo));
                return Ok(());
            }
            let now = self.worker.now();
            let draft = Arc::new(self.draft(now)?);
            let before = self.version;
            let plan = {
                let draft = draft.clone();
                move |output: &Json| {
                    let (entries, next) = draft.ended(step, is_undo, output)?;
                    Ok(draft.batch(entries, &next))
                }
            };
            match self.calls.during(commit(id, Arc::new(plan))).await {
                Ok((commit, Some(output))) => {
                    let (entries, next) = draft.ended(step, is_undo, &output)?;
                    self.written(&commit, next);
                    self.begin_all(&entries);
                    reply(Ok(output));
                    return if self.state.outcome().is_some() {
                        Err(Stop::Over)
                    } else {
                        Ok(())
                    };
                }
                // It was there already: what it has come to stands in the log.
                Ok((_, None)) => {
                    self.catch_up().await?;
                    self.begin_missing(|_| true);
                }
                Err(NotLocal::Step(error)) => {
                    reply(Err(error));
                    return Ok(());
                }
                Err(NotLocal::Store(CommitError::Conflict(_))) => {
                    self.catch_up().await?;
                    if self.version == before {
                        reply(Err(StepError::failed(OTHER_STORE)));
                        return Ok(());
                    }
                    id = BatchId::new();
                }
                Err(NotLocal::Store(CommitError::Fenced { .. })) => {
                    return Err(Stop::Fenced(self.fence.token));
                }
                Err(NotLocal::Store(CommitError::Invalid(invalid))) => {
                    reply(Err(StepError::failed(invalid)));
                    return Ok(());
                }
                Err(NotLocal::Store(CommitError::Unavailable(gone))) if gone.is_lasting() => {
                    return Err(Stop::Gone);
                }
                Err(NotLocal::Store(_)) => self.calls.during(sleep(AGAIN)).await,
            }
        }
    }

    /// What came of a step, or of its undo, that is not under way any more: decided meanwhile, or done and the reply was lost.
    fn decided(&self, step: usize, is_undo: bool) -> Result<Json, StepError> {
        let now = &self.state.steps[step];
        let output = if is_undo {
            (now.back == Back::Done).then(Json::null)
        } else {
            now.output().cloned()
        };
        output.ok_or_else(|| StepError::unknown("it was decided meanwhile"))
    }

    /// Begins steps that are under way by the log and are not called here.
    fn begin_missing(&mut self, is_meant: impl Fn(&Work) -> bool) {
        for step in 0..self.state.steps.len() {
            if self.calls.has(step) || !is_meant(&self.state.graph.steps[step].work) {
                continue;
            }
            let Step { forward, back, .. } = &self.state.steps[step];
            if matches!(forward, Forward::Running(_)) {
                self.begin(step);
            } else if *back == Back::Running {
                self.begin_undo(step);
            }
        }
    }

    /// What a commit leaves behind.
    pub(super) fn written(&mut self, commit: &Commit, next: State) {
        self.version = commit.version(&self.stream).unwrap_or(self.version);
        self.state = Arc::new(next);
    }

    /// Begins what is written to be, and tells who waits how far it is.
    pub(super) fn begin_all(&mut self, written: &[Entry]) {
        for entry in written {
            match entry {
                Entry::Begin { step } => self.begin(*step),
                Entry::BeginUndo { step } => self.begin_undo(*step),
                _ => {}
            }
        }
        self.drop_calls();
        self.tell();
    }

    /// What can be written of it now.
    pub(super) fn draft(&mut self, now: Timestamp) -> Result<Draft<App>, Stop> {
        // One that outlived its shard must not write under a new epoch.
        let fence = self.worker.fence(self.shard).ok_or(Stop::Over)?;
        if fence != self.fence {
            return Err(Stop::Over);
        }
        Ok(Draft {
            goes_on: self.worker.may_begin(self.shard),
            worker: self.worker.clone(),
            name: self.name.clone(),
            stream: self.stream.clone(),
            shard: self.shard,
            version: self.version,
            fence: self.fence.clone(),
            now,
            before: self.state.clone(),
        })
    }

    #[cfg(feature = "test-util")]
    fn broken(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        if !self.worker.has_flaw(Flaw::IntentLast) {
            return entries;
        }
        let is_intent =
            |entry: &Entry| matches!(entry, Entry::Begin { .. } | Entry::BeginUndo { .. });
        let (intents, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_intent);
        let mut written = std::mem::replace(&mut self.held_back, intents);
        written.extend(others);
        written
    }

    /// Reads what others have written.
    async fn catch_up(&mut self) -> Result<(), Stop> {
        loop {
            let (state, version) = (Arc::make_mut(&mut self.state), &mut self.version);
            let instances = &self.worker.instances;
            let read = instances.catch_up(&self.name, state, version);
            match self.calls.during(read).await {
                Err(error) if error.may_pass() => self.calls.during(sleep(AGAIN)).await,
                read => return Ok(read?),
            }
        }
    }

    fn begin(&mut self, step: usize) {
        if let Some(call) = calls::forward(self, step) {
            self.calls.add(step, call);
        }
    }

    fn begin_undo(&mut self, step: usize) {
        if let Some(call) = calls::undo(self, step) {
            self.calls.add(step, call);
        }
    }

    /// Drops calls that nobody waits for any more, because a person has decided.
    fn drop_calls(&mut self) {
        let state = &self.state;
        self.calls.keep(|step| {
            let Step { forward, back, .. } = &state.steps[step];
            matches!(forward, Forward::Running(_)) || *back == Back::Running
        });
    }

    fn tell(&self) {
        let now = told(&self.state, |outputs| self.run.output(outputs));
        self.told.send_if_modified(|told| {
            let is_new = *told != now;
            *told = now;
            is_new
        });
    }

    async fn next(&mut self) -> Next {
        let now = self.worker.now();
        Arc::make_mut(&mut self.state).in_time(now);
        let wakes_at = self.state.wakes_at(now);
        // Nothing would begin.
        let wakes_at = wakes_at.filter(|_| self.worker.may_begin(self.shard));
        let left = wakes_at.map(|at| at.as_millis().saturating_sub(now.as_millis()));
        let left = left.map(Duration::from_millis);
        let mut draining = self.worker.draining.subscribe();
        tokio::select! {
            biased;
            ended = self.calls.next(), if self.calls.is_polled() => Next::Ended(ended),
            Some(local) = self.locals.1.recv() => Next::Local(local),
            () = self.nudge.notified() => Next::Look,
            _ = draining.wait_for(|draining| *draining), if self.calls.is_empty() => Next::Time,
            () = sleep(left.unwrap_or(LOOK)), if left.is_some_and(|left| left < LOOK) => Next::Time,
            // The machine's clock may be set meanwhile, and a hint may be lost.
            () = sleep(LOOK) => Next::Look,
        }
    }
}

const OTHER_STORE: &str = "the store is not the one that the engine runs on";

/// Something is looked at after so long, though nothing says that it has to be.
const LOOK: Duration = Duration::from_secs(60);

/// What an instance has waited for.
enum Next {
    Ended(Vec<Ended>),
    Local(Local),
    Look,
    Time,
}
