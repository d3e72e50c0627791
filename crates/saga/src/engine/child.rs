//! A saga that is a step of another.

use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Expected, Version};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::calls::Ended;
use super::instance::Instance;
use super::instances::{Refused, until_told};
use super::names::Name;
use super::settled::Settled;
use super::start::{self, StartError};
use super::wait;
use super::worker::Worker;
use crate::Json;
use crate::define::Run;
use crate::error::{StepError, UndoError};
use crate::log::{Act, Action, Cause, Entry, Outcome, Parent, Record, Start};
use crate::note::{Note, Standing};

/// Who a child is.
struct Child<App> {
    worker: Arc<Worker<App>>,
    run: Arc<dyn Run<App>>,
    name: Name,
    shard: u32,
    parent: Parent,
}

impl<App: Send + Sync + 'static> Child<App> {
    fn of(instance: &Instance<App>, step: usize) -> Option<Self> {
        let run = instance.run.child(step)?.clone();
        let own = &instance.state.graph.steps[step].name;
        let trial = instance.state.steps[step].trial;
        Some(Self {
            name: instance.name.child(&run.graph().saga, own, trial),
            run,
            worker: instance.worker.clone(),
            shard: instance.shard,
            parent: Parent {
                saga: instance.name.saga.to_string(),
                id: instance.name.id.to_string(),
                step: own.clone(),
            },
        })
    }

    async fn run(&self, input: Json) -> Result<Json, StepError> {
        let parent = Some(self.parent.clone());
        let started = start::start(
            &self.worker,
            &self.run,
            &self.name,
            self.shard,
            input,
            parent,
        );
        match started.await {
            Ok(_) => {}
            Err(StartError::Unavailable(error)) => return Err(StepError::unknown(error)),
            Err(error) => return Err(StepError::failed(error)),
        }
        match wait::over(&self.worker, &self.run, &self.name, self.shard).await? {
            Settled::Done(output) => Ok(output),
            Settled::Undone(why) => Err(StepError::failed(format!("it was undone: {why}"))),
            Settled::Parked(_) | Settled::Abandoned => Err(StepError::unknown_for_good(ABANDONED)),
        }
    }

    async fn undo(&self) -> Result<(), UndoError> {
        let instances = &self.worker.instances;
        loop {
            let Some(loaded) = until_told(|| instances.load(&self.name)).await? else {
                if self.leave_tombstone().await.is_ok() {
                    return Ok(());
                }
                continue;
            };
            let is_asked = loaded.is_going_back();
            match loaded.told(|_| Json::null()) {
                Some(Settled::Undone(_)) => return Ok(()),
                Some(Settled::Abandoned) => return Err(UndoError::give_up(ABANDONED)),
                _ if is_asked => {}
                _ => {
                    // Somebody else was first: look again.
                    if self.ask_for_undo(loaded.version).await.is_err() {
                        continue;
                    }
                }
            }
            let settled = wait::over(&self.worker, &self.run, &self.name, self.shard);
            match settled.await? {
                Settled::Undone(_) => return Ok(()),
                Settled::Abandoned => return Err(UndoError::give_up(ABANDONED)),
                // Its worker has not heard yet.
                Settled::Done(_) | Settled::Parked(_) => sleep(AGAIN).await,
            }
        }
    }

    /// So that a start of it that comes late finds that it was undone.
    async fn leave_tombstone(&self) -> Result<(), Refused> {
        let instances = &self.worker.instances;
        let graph = self.run.graph();
        let start = Start {
            version: graph.version,
            graph: self.run.fingerprint().clone(),
            shard: self.shard,
            input: Json::null(),
            parent: Some(self.parent.clone()),
        };
        let cause = Cause::Asked;
        let outcome = Outcome::Undone;
        let record = Record {
            at: self.worker.now(),
            epoch: None,
            entries: vec![
                Entry::Start(start),
                Entry::Turn { cause },
                Entry::End { outcome },
            ],
        };
        let batch = instances.append(&self.name, Version::START, &record);
        instances.commit(batch).await.map(drop)
    }

    async fn ask_for_undo(&self, version: Version) -> Result<(), Refused> {
        let instances = &self.worker.instances;
        let act = Act {
            action: Action::Undo,
            by: format!("saga {} {}", self.parent.saga, self.parent.id),
            why: format!("its step {} is undone", self.parent.step),
        };
        let record = Record {
            at: self.worker.now(),
            epoch: None,
            entries: vec![Entry::Act(act)],
        };
        let active = instances.names.active(self.shard, &self.name);
        let batch = instances
            .append(&self.name, version, &record)
            .put(
                active,
                Note::new(Standing::Running, self.worker.now()).bytes(),
            )
            .delete(instances.names.ended(&self.name), Expected::Any);
        instances.commit(batch).await.map(drop)
    }
}

/// Between an undo that was asked for and a look at it.
const AGAIN: Duration = Duration::from_millis(20);
const ABANDONED: &str = "it was abandoned";

pub(super) fn run<App: Send + Sync + 'static>(
    instance: &Instance<App>,
    step: usize,
) -> BoxFuture<'static, Ended> {
    let needs = &instance.state.graph.steps[step].needs;
    let outputs = needs
        .iter()
        .filter_map(|need| instance.state.steps[*need].output().cloned());
    let input = instance.run.inputs(step, &outputs.collect::<Vec<_>>());
    let child = Child::of(instance, step);
    let run = async move {
        let result = match child {
            Some(child) => child.run(input).await,
            None => Err(StepError::failed("it is no saga")),
        };
        Ended::done(step, result)
    };
    run.boxed()
}

pub(super) fn undo<App: Send + Sync + 'static>(
    instance: &Instance<App>,
    step: usize,
) -> BoxFuture<'static, Ended> {
    let child = Child::of(instance, step);
    let undo = async move {
        let result = match child {
            Some(child) => child.undo().await,
            None => Ok(()),
        };
        Ended::undone(step, result)
    };
    undo.boxed()
}
