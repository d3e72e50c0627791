//! An instance as its records tell it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::Timestamp;

use crate::Json;
use crate::error::StepEffect;
use crate::graph::{Fingerprint, Graph, Role, Work};
use crate::log::{Action, Cause, Entry, Outcome, Record};

/// An instance, as far as its graph goes.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) graph: Arc<Graph>,
    pub(crate) steps: Vec<Step>,
    pub(crate) phase: Phase,
    /// Why it turned back, if it did.
    pub(crate) turned: Option<Cause>,
    /// Nothing is begun as long as it is parked.
    pub(crate) parked: Option<Cause>,
    /// Somebody wants it undone, and the pivot is under way.
    pub(super) is_unwanted: bool,
    /// The first of each name.
    pub(super) signals: BTreeMap<String, Json>,
    /// Records since the last decision from outside.
    pub(super) records: u32,
}

/// Which way an instance goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Forward,
    Back,
    Ended(Outcome),
}

/// A step of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) forward: Forward,
    pub(crate) back: Back,
    /// Attempts that have begun, since a person last said to try again.
    pub(crate) attempts: u32,
    pub(crate) undo_attempts: u32,
    /// So often a person said to try again what had failed: a saga within is another one then.
    pub(crate) trial: u32,
    /// Some attempt may have had an effect.
    pub(crate) is_unclear: bool,
    /// The wait before the attempt that is next or under way.
    pub(crate) rest: Duration,
    /// Of the last attempt that was not.
    pub(crate) error: Option<Arc<str>>,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    Waiting,
    /// An attempt is under way since then, or its worker was lost.
    Running(Timestamp),
    Resting(Timestamp),
    Done(Json),
    /// It has no effect and will have none.
    Failed,
    /// It may have had an effect, and is not tried again.
    Unknown,
}

/// How far a step's undo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    Waiting,
    Running,
    Resting(Timestamp),
    /// It is not tried again.
    Failed,
    Done,
}

/// A record that can't follow on those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log can't be: {what}")]
pub struct Illegal {
    what: String,
}

impl Illegal {
    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        let what = format!("a record can't be read: {error}");
        Self { what }
    }

    pub(crate) fn without(graph: &Fingerprint) -> Self {
        let what = format!("the graph {graph} is not in the store");
        Self { what }
    }

    pub(crate) fn stranded() -> Self {
        let what = "a step that has begun is not in the graph that it was moved to".to_owned();
        Self { what }
    }

    pub(crate) fn not_begun() -> Self {
        let what = "it does not begin with a start".to_owned();
        Self { what }
    }
}

impl Step {
    fn new() -> Self {
        Self {
            forward: Forward::Waiting,
            back: Back::Waiting,
            attempts: 0,
            undo_attempts: 0,
            trial: 0,
            is_unclear: false,
            rest: Duration::ZERO,
            error: None,
        }
    }

    pub(crate) fn output(&self) -> Option<&Json> {
        match &self.forward {
            Forward::Done(output) => Some(output),
            _ => None,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.output().is_some()
    }
}

impl State {
    pub(crate) fn new(graph: Arc<Graph>) -> Self {
        Self {
            steps: vec![Step::new(); graph.steps.len()],
            graph,
            phase: Phase::Forward,
            turned: None,
            parked: None,
            is_unwanted: false,
            signals: BTreeMap::new(),
            records: 0,
        }
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// What was written, in its order.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        self.count();
        record
            .entries
            .iter()
            .try_for_each(|entry| self.apply_entry(entry, record.at))
    }

    /// One more record.
    pub(crate) fn count(&mut self) {
        self.records = self.records.saturating_add(1);
    }

    /// The whole table of what may follow on what.
    pub(crate) fn apply_entry(&mut self, entry: &Entry, at: Timestamp) -> Result<(), Illegal> {
        let illegal = || Illegal {
            what: format!("{entry:?} does not follow on what is before"),
        };
        match entry {
            Entry::Start(_) => {}
            Entry::Begin { step } => {
                let step = self.step(*step).ok_or_else(illegal)?;
                if !matches!(step.forward, Forward::Waiting | Forward::Resting(_)) {
                    return Err(illegal());
                }
                step.forward = Forward::Running(at);
                step.attempts += 1;
            }
            Entry::Done { step, output } => {
                let number = *step;
                let step = self.step(number).ok_or_else(illegal)?;
                if !matches!(step.forward, Forward::Running(_)) {
                    return Err(illegal());
                }
                step.forward = Forward::Done(output.clone());
                if self.graph.steps[number].role == Role::Pivot {
                    // Whoever wanted it undone came too late.
                    self.is_unwanted = false;
                }
            }
            Entry::Failed {
                step,
                effect,
                error,
                again_at,
            } => {
                let step = self.step(*step).ok_or_else(illegal)?;
                if !matches!(step.forward, Forward::Running(_)) {
                    return Err(illegal());
                }
                step.is_unclear |= *effect == StepEffect::Unknown;
                step.error = Some(error.as_str().into());
                step.forward = match again_at {
                    Some(again_at) => {
                        step.rest = between(at, *again_at);
                        Forward::Resting(*again_at)
                    }
                    None if step.is_unclear => Forward::Unknown,
                    None => Forward::Failed,
                };
            }
            Entry::Turn { cause } => self.turn(cause),
            Entry::BeginUndo { step } => {
                let step = self.step(*step).ok_or_else(illegal)?;
                if !matches!(step.back, Back::Waiting | Back::Resting(_)) {
                    return Err(illegal());
                }
                step.back = Back::Running;
                step.undo_attempts += 1;
            }
            Entry::Undone { step } => {
                let step = self.step(*step).ok_or_else(illegal)?;
                if step.back != Back::Running {
                    return Err(illegal());
                }
                step.back = Back::Done;
            }
            Entry::UndoFailed {
                step,
                error,
                again_at,
            } => {
                let step = self.step(*step).ok_or_else(illegal)?;
                if step.back != Back::Running {
                    return Err(illegal());
                }
                step.error = Some(error.as_str().into());
                step.back = match again_at {
                    Some(again_at) => {
                        step.rest = between(at, *again_at);
                        Back::Resting(*again_at)
                    }
                    None => Back::Failed,
                };
            }
            Entry::Park { cause } => self.parked = Some(cause.clone()),
            Entry::Signal { name, value, .. } => {
                let signals = &mut self.signals;
                signals.entry(name.clone()).or_insert_with(|| value.clone());
            }
            // It needs the other graph.
            Entry::Migrate { .. } => return Err(illegal()),
            Entry::Act(act) => self.act(&act.action).ok_or_else(illegal)?,
            Entry::End { outcome } => {
                self.phase = Phase::Ended(*outcome);
                self.parked = None;
            }
        }
        Ok(())
    }

    /// The same instance on another graph, to which its steps are moved.
    pub(crate) fn migrate(
        &mut self,
        graph: Arc<Graph>,
        steps: &[Option<usize>],
    ) -> Result<(), Illegal> {
        let mut moved = Self::new(graph);
        for cause in [&mut self.turned, &mut self.parked].into_iter().flatten() {
            let place = |step: usize| steps.get(step).copied().flatten();
            if let Some(step) = cause.step_mut() {
                *step = place(*step).ok_or_else(Illegal::stranded)?;
            }
        }
        let places = steps.iter().chain(std::iter::repeat(&None));
        for (step, place) in self.steps.drain(..).zip(places) {
            let place = place.and_then(|place| moved.steps.get_mut(place));
            match place {
                Some(place) => *place = step,
                None if step.forward == Forward::Waiting => {}
                None => return Err(Illegal::stranded()),
            }
        }
        (self.graph, self.steps) = (moved.graph, moved.steps);
        self.count();
        Ok(())
    }

    fn step(&mut self, step: usize) -> Option<&mut Step> {
        self.steps.get_mut(step)
    }

    /// No rest is longer, and no wait begins later, than it was to by a clock that goes as this one does.
    pub(crate) fn in_time(&mut self, now: Timestamp) {
        for step in &mut self.steps {
            let latest = now.plus(step.rest);
            match &mut step.forward {
                Forward::Running(since) => *since = (*since).min(now),
                Forward::Resting(until) => *until = (*until).min(latest),
                _ => {}
            }
            if let Back::Resting(until) = &mut step.back {
                *until = (*until).min(latest);
            }
        }
    }

    /// From here on back. What only waits, waits no more; what is called is waited for.
    fn turn(&mut self, cause: &Cause) {
        self.phase = Phase::Back;
        self.turned = Some(cause.clone());
        self.is_unwanted = false;
        for (step, node) in self.steps.iter_mut().zip(&self.graph.steps) {
            step.rest = Duration::ZERO;
            step.forward = match (&step.forward, &node.work) {
                // Its undo finds out.
                (Forward::Running(_), Work::Child { .. }) => Forward::Unknown,
                (Forward::Resting(_), _) if step.is_unclear => Forward::Unknown,
                (Forward::Running(_), Work::Sleep(_) | Work::Signal(_))
                | (Forward::Resting(_), _) => Forward::Failed,
                (forward, _) => forward.clone(),
            };
        }
    }

    /// None if the state has no place for it.
    fn act(&mut self, action: &Action) -> Option<()> {
        self.records = 0;
        match action {
            Action::Retry => self.retry(),
            Action::Skip { step, output } => {
                let goes_back = matches!(self.phase, Phase::Back);
                let step = self.step(*step)?;
                if goes_back {
                    step.back = Back::Done;
                } else {
                    step.forward = Forward::Done(output.clone().unwrap_or_else(Json::null));
                }
                self.parked = None;
            }
            Action::Undo => self.undo(),
            Action::Abandon => {}
        }
        Some(())
    }

    /// Turns back, unless somebody has to look at the pivot first.
    fn undo(&mut self) {
        let was_looked_at = matches!(self.parked, Some(Cause::PivotUnclear(_)));
        self.parked = None;
        if self.phase == Phase::Back {
            return;
        }
        if let Some(pivot) = self.graph.pivot() {
            if was_looked_at {
                self.steps[pivot].forward = Forward::Failed;
            } else if self.may_have_happened(pivot) {
                self.is_unwanted = true;
                return;
            }
        }
        self.turn(&Cause::Asked);
    }

    /// Whether a step is being called, or was and nobody knows.
    pub(super) fn may_have_happened(&self, step: usize) -> bool {
        let Step {
            forward,
            is_unclear,
            ..
        } = &self.steps[step];
        match forward {
            Forward::Running(_) => {
                matches!(self.graph.steps[step].work, Work::Call | Work::Child { .. })
            }
            Forward::Resting(_) => *is_unclear,
            Forward::Unknown | Forward::Done(_) => true,
            Forward::Waiting | Forward::Failed => false,
        }
    }

    fn retry(&mut self) {
        // Whatever the clocks of who decides and who acts.
        let at = Timestamp::default();
        self.is_unwanted = false;
        self.parked = None;
        let goes_back = matches!(self.phase, Phase::Back);
        for step in &mut self.steps {
            step.rest = Duration::ZERO;
            if goes_back {
                if matches!(step.back, Back::Resting(_) | Back::Failed) {
                    step.back = Back::Resting(at);
                    step.undo_attempts = 0;
                }
            } else if matches!(
                step.forward,
                Forward::Resting(_) | Forward::Failed | Forward::Unknown
            ) {
                if !matches!(step.forward, Forward::Resting(_)) {
                    step.trial += 1;
                }
                step.forward = Forward::Resting(at);
                step.attempts = 0;
            }
        }
    }

    pub(crate) fn has_signal(&self, name: &str) -> bool {
        self.signals.contains_key(name)
    }

    /// Whether a step's undo has something to do and is not done.
    pub(crate) fn has_to_be_undone(&self, step: usize) -> bool {
        let Step { forward, back, .. } = &self.steps[step];
        self.graph.steps[step].role == Role::Undo
            && matches!(forward, Forward::Done(_) | Forward::Unknown)
            && *back != Back::Done
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}
