//! What a saga consists of, without its code: what is stored, compared and drawn.

mod check;
mod draw;
mod fingerprint;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use check::BuildError;
pub(crate) use check::{check, check_name};
pub use fingerprint::Fingerprint;

/// The steps of a saga and what orders them.
///
/// An instance runs the graph that it began with, so the graph is kept in the store, by its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Graph {
    /// The saga's name.
    pub saga: String,
    /// The version that its author gave it.
    pub version: Version,
    /// In the order in which they were declared: a step comes after all that it needs.
    pub steps: Vec<Node>,
    /// Whose outputs are the saga's.
    pub outputs: Vec<usize>,
}

/// A version of a saga, as its author counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(pub u32);

/// One step of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Node {
    /// Its name, of which there is one in a saga.
    pub name: String,
    /// What it does.
    pub work: Work,
    /// What becomes of it when the saga can't go on.
    pub role: Role,
    /// The steps whose outputs it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<usize>,
    /// Further steps that it comes after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<usize>,
    /// Whether it may be called again after an attempt of which nothing is known.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub idempotent: bool,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Work {
    /// Calls a function.
    Call,
    /// Waits for a time to pass, in milliseconds.
    Sleep(u64),
    /// Waits for a signal of the step's name, for so many milliseconds if there is a number.
    Signal(Option<u64>),
    /// Runs another saga.
    Child {
        /// Its name.
        saga: String,
        /// Its graph.
        graph: Fingerprint,
    },
}

/// What becomes of a step when the saga can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// It is undone.
    Undo,
    /// It has changed nothing.
    NothingToUndo,
    /// When it is done, the saga only goes forward.
    Pivot,
    /// It comes after the pivot and is repeated until it is done.
    UntilDone,
}

impl Graph {
    /// What differs for every change that an instance under way can't live with.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint::of(self)
    }

    /// The index of a step.
    pub fn step(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }

    /// The step after which the saga only goes forward.
    pub fn pivot(&self) -> Option<usize> {
        let is_pivot = |step: &Node| step.role == Role::Pivot;
        self.steps.iter().position(is_pivot)
    }

    /// The steps that a step waits for. The pivot waits for all that can be taken back.
    pub(crate) fn waits_for(&self, step: usize) -> Vec<usize> {
        let node = &self.steps[step];
        let mut before: Vec<usize> = node.needs.iter().chain(&node.after).copied().collect();
        if node.role == Role::Pivot {
            let others = self.steps.iter().enumerate();
            before.extend(others.filter_map(|(other, node)| {
                matches!(node.role, Role::Undo | Role::NothingToUndo).then_some(other)
            }));
        }
        before.sort_unstable();
        before.dedup();
        before
    }
}

impl Work {
    pub(crate) fn sleep(time: Duration) -> Self {
        Self::Sleep(millis(time))
    }

    pub(crate) fn signal(within: Option<Duration>) -> Self {
        Self::Signal(within.map(millis))
    }
}

/// Rounded up: nothing waits for less than it was told.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_yes(yes: &bool) -> bool {
    *yes
}
