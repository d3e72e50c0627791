use std::fmt;
use std::sync::Arc;

use crate::Json;
use crate::graph::Graph;
use crate::log::{Cause, Outcome};
use crate::machine::State;

/// What an instance has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled<Out> {
    /// All steps are done, and this came of them.
    Done(Out),
    /// All that was done is undone.
    Undone(Why),
    /// It waits for a person.
    Parked(Why),
    /// A person said that nothing more is done about it.
    Abandoned,
}

/// Why an instance turned back or was parked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Why {
    /// The kind of reason.
    pub cause: Cause,
    /// The step's name, where it is one's.
    pub step: Option<String>,
    /// What the step's last attempt said.
    pub error: Option<Arc<str>>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step.as_deref().unwrap_or_default();
        match &self.cause {
            Cause::Step(_) => write!(f, "step {step:?} can't be done"),
            Cause::PivotUnclear(_) => {
                write!(f, "nobody knows whether the pivot {step:?} has happened")
            }
            Cause::AfterPivot(_) => {
                write!(f, "step {step:?} can't be done, and comes after the pivot")
            }
            Cause::Undo(_) => write!(f, "step {step:?} can't be undone"),
            Cause::Unreadable(_, what) => {
                return write!(f, "the code can't read what step {step:?} takes: {what}");
            }
            Cause::HistoryFull => return f.write_str("its history is as long as it may be"),
            Cause::Asked => return f.write_str("it was asked for"),
        }?;
        match &self.error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

impl Why {
    pub(crate) fn of(cause: &Cause, state: &State) -> Self {
        let step = cause.step();
        Self {
            error: step.and_then(|step| state.steps.get(step)?.error.clone()),
            ..Self::named(cause, &state.graph)
        }
    }

    /// Without what the step said.
    pub(crate) fn named(cause: &Cause, graph: &Graph) -> Self {
        let step = cause.step();
        Self {
            cause: cause.clone(),
            step: step.and_then(|step| Some(graph.steps.get(step)?.name.clone())),
            error: None,
        }
    }
}

impl Cause {
    /// The step that it is about.
    fn step(&self) -> Option<usize> {
        match self {
            Self::Step(step)
            | Self::PivotUnclear(step)
            | Self::AfterPivot(step)
            | Self::Undo(step)
            | Self::Unreadable(step, _) => Some(*step),
            Self::HistoryFull | Self::Asked => None,
        }
    }

    pub(crate) fn step_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::Step(step)
            | Self::PivotUnclear(step)
            | Self::AfterPivot(step)
            | Self::Undo(step)
            | Self::Unreadable(step, _) => Some(step),
            Self::HistoryFull | Self::Asked => None,
        }
    }
}

/// What a worker says of an instance: none as long as it goes on.
pub(crate) type Told = Option<Settled<Json>>;

/// What can be told of an instance. `output` puts outputs of steps together.
pub(crate) fn told(state: &State, output: impl FnOnce(&[Json]) -> Json) -> Told {
    if let Some(cause) = &state.parked {
        return Some(Settled::Parked(Why::of(cause, state)));
    }
    match state.outcome()? {
        Outcome::Done => {
            let outputs = state.graph.outputs.iter();
            let outputs = outputs.filter_map(|step| state.steps[*step].output().cloned());
            Some(Settled::Done(output(&outputs.collect::<Vec<_>>())))
        }
        Outcome::Undone => Some(Settled::Undone(Why::of(
            state.turned.as_ref().unwrap_or(&Cause::Asked),
            state,
        ))),
        Outcome::Abandoned => Some(Settled::Abandoned),
    }
}
