use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::code::{Child, Inputs, NoChild, Typed, Undo, UndoFn};
use super::policy::{Policy, Retry};
use super::reference::{Needs, Places, Ref, Steps};
use super::saga::{Act, Coded, Place};
use super::stage::{After, AfterPivot, Before, BeforePivot, HasInputs, Stage};
use crate::graph::{BuildError, Node, Role, Work};

/// A step that does not say yet what becomes of it.
///
/// `M` is what its function takes, `T` its output, `S` where it stands.
#[must_use = "a step is part of the saga when it says what becomes of it: `undo`, `nothing_to_undo`, `pivot` or `until_done`"]
pub struct Step<'b, App, In, M, T, S> {
    builder: &'b Builder<App, In>,
    draft: Draft<App, In>,
    types: Types<M, T, S>,
}

type Types<M, T, S> = PhantomData<fn() -> (M, T, S)>;

/// A step without its types.
pub(super) struct Draft<App, In> {
    node: Node,
    act: Act<App, In>,
    inputs: Place,
    is_foreign: bool,
    timeout: Option<Duration>,
    retry: Option<Retry>,
    undo_timeout: Option<Duration>,
    undo_retry: Option<Retry>,
}

impl<App, In> Draft<App, In> {
    pub(super) fn new(name: &str, work: Work, act: Act<App, In>) -> Self {
        Self {
            node: Node {
                name: name.to_owned(),
                work,
                role: Role::NothingToUndo,
                needs: Vec::new(),
                after: Vec::new(),
                idempotent: true,
            },
            act,
            inputs: Place::None,
            is_foreign: false,
            timeout: None,
            retry: None,
            undo_timeout: None,
            undo_retry: None,
        }
    }

    fn policy(&self, role: Role) -> Policy {
        let default = Policy::of(role);
        Policy {
            timeout: self.timeout.unwrap_or(default.timeout),
            retry: self.retry.clone().unwrap_or(default.retry),
            undo_timeout: self.undo_timeout.unwrap_or(default.undo_timeout),
            undo_retry: self.undo_retry.clone().unwrap_or(default.undo_retry),
        }
    }
}

impl<App, In, M, T, S> fmt::Debug for Step<'_, App, In, M, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("node", &self.draft.node)
            .finish_non_exhaustive()
    }
}

impl<'b, App, In, M, T, S> Step<'b, App, In, M, T, S> {
    pub(super) fn new(builder: &'b Builder<App, In>, draft: Draft<App, In>) -> Self {
        let types = PhantomData;
        Self {
            builder,
            draft,
            types,
        }
    }
}

impl<'b, App, In, M, T, S> Step<'b, App, In, M, T, S>
where
    App: Send + Sync + 'static,
    In: Serialize + DeserializeOwned + Send + Sync + 'static,
    M: Inputs + 'static,
    T: DeserializeOwned + Send + 'static,
{
    /// The steps whose outputs its function is given, in this order: one, or a tuple of up to eight.
    pub fn needs<R: Steps + Needs<M::Value>>(
        mut self,
        steps: R,
    ) -> Step<'b, App, In, M, T, R::Stage> {
        let Places { steps, is_tuple } = steps.places();
        self.draft.inputs = if steps.is_empty() {
            Place::None
        } else {
            Place::of(is_tuple)
        };
        self.draft.node.needs = self.own(steps);
        Step::new(self.builder, self.draft)
    }

    /// Steps that are done before it begins, and whose outputs it does not need.
    pub fn after<R: Steps>(mut self, steps: R) -> Step<'b, App, In, M, T, S::With<R::Stage>>
    where
        S: Stage,
    {
        let steps = self.own(steps.places().steps);
        self.draft.node.after.extend(steps);
        Step::new(self.builder, self.draft)
    }

    /// As long as one attempt may take: 1 ms to 24 h. Default: 30 s. What takes longer is unknown.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.draft.timeout = Some(timeout);
        self
    }

    /// How often it is tried. Default: 8 times; the pivot and what comes after it 40 times, with waits up to 2 min.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.draft.retry = Some(retry);
        self
    }

    /// As long as one attempt of its undo may take. Default: 30 s.
    pub fn undo_timeout(mut self, timeout: Duration) -> Self {
        self.draft.undo_timeout = Some(timeout);
        self
    }

    /// How often its undo is tried, before a person has to look. Default: 40 times, with waits up to 2 min.
    pub fn undo_retry(mut self, retry: Retry) -> Self {
        self.draft.undo_retry = Some(retry);
        self
    }

    /// An attempt of which nothing is known is not repeated, because even under the same key it could happen twice.
    pub fn not_idempotent(mut self) -> Self {
        self.draft.node.idempotent = false;
        self
    }

    /// Ends the step: this takes it back.
    ///
    /// It runs when the step is done or may have been done, as often as needed, and must cope with both; also with a call of
    /// the step that arrives after it.
    pub fn undo<U>(self, undo: impl UndoFn<App, In, M, T, U>) -> Ref<T, Before>
    where
        S: HasInputs + BeforePivot,
        U: 'static,
    {
        let undo = Typed::<_, (M, T, U)>::new(undo);
        self.end(Role::Undo, Some(Box::new(undo)))
    }

    /// Ends a step that changes nothing, or nothing that anybody minds.
    pub fn nothing_to_undo(self) -> Ref<T, Before>
    where
        S: HasInputs + BeforePivot,
        M: NoChild,
    {
        self.end(Role::NothingToUndo, None)
    }

    /// Ends the step as the point of no return: it begins when all that can be undone is done, and when it is done the saga
    /// only goes forward.
    pub fn pivot(self) -> Ref<T, After>
    where
        S: HasInputs + BeforePivot,
    {
        self.end(Role::Pivot, None)
    }

    /// Ends a step after the pivot: it is repeated until it is done.
    pub fn until_done(self) -> Ref<T, After>
    where
        S: HasInputs + AfterPivot,
    {
        self.end(Role::UntilDone, None)
    }

    /// The steps that are of this saga.
    fn own(&mut self, steps: Vec<(u64, usize)>) -> Vec<usize> {
        let builder = self.builder.id();
        self.draft.is_foreign |= steps.iter().any(|(of, _)| *of != builder);
        steps.into_iter().map(|(_, step)| step).collect()
    }

    fn end<Z>(self, role: Role, undo: Option<Box<dyn Undo<App, In>>>) -> Ref<T, Z> {
        let policy = self.draft.policy(role);
        let Draft {
            mut node,
            act,
            inputs,
            is_foreign,
            ..
        } = self.draft;
        node.role = role;
        let mut parts = self.builder.parts().borrow_mut();
        let name = || node.name.clone();
        if is_foreign {
            parts.fail(BuildError::ForeignStep { name: name() });
        }
        if let Err(invalid) = policy.validate() {
            let name = name();
            parts.fail(BuildError::Option { name, invalid });
        }
        if let Act::Child(child) = &act
            && matches!(role, Role::Undo | Role::NothingToUndo)
            && child.graph().pivot().is_some()
        {
            let (name, child) = (name(), child.graph().saga.clone());
            parts.fail(BuildError::ChildHasPivot { name, child });
        }
        let code = Coded {
            act,
            undo,
            inputs,
            output: TypeId::of::<T>(),
            policy,
        };
        Ref::new(self.builder.id(), parts.end(node, code))
    }
}

impl<App, In, C, T, S> Step<'_, App, In, Child<C>, T, S>
where
    App: Send + Sync + 'static,
    In: Serialize + DeserializeOwned + Send + Sync + 'static,
    C: DeserializeOwned + Send + 'static,
    T: DeserializeOwned + Send + 'static,
{
    /// Ends a step that runs another saga: to take it back is to undo that saga.
    pub fn undo_child(self) -> Ref<T, Before>
    where
        S: HasInputs + BeforePivot,
    {
        self.end(Role::Undo, None)
    }
}
