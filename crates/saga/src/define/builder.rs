use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::code::{Child, Inputs, StepFn, Typed};
use super::reference::Needs;
use super::saga::{Act, Coded, Definition, Place, Saga, Upgrade};
use super::stage::{Before, NeedsMissing};
use super::step::{Draft, Step};
use crate::graph::{self, BuildError, Graph, Role, Version, Work};

/// A saga while it is written.
///
/// A step runs as soon as all that it [needs](Step::needs) and comes [after](Step::after) is done; steps that do not wait
/// for each other run at once. Each ends with what becomes of it when the saga can't go on, and is a [`Ref`](super::Ref)
/// from then on.
pub struct Builder<App, In> {
    id: u64,
    parts: RefCell<Parts<App, In>>,
}

/// What was declared so far.
pub(super) struct Parts<App, In> {
    pub(super) graph: Graph,
    pub(super) code: Vec<Coded<App, In>>,
    /// Steps that were begun, by name, and have not ended yet.
    pub(super) open: Vec<String>,
    pub(super) upgrades: Vec<Upgrade>,
    /// What is wrong first.
    pub(super) wrong: Option<BuildError>,
}

impl<App, In> fmt::Debug for Builder<App, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let graph = &self.parts.borrow().graph;
        f.debug_struct("Builder")
            .field("graph", graph)
            .finish_non_exhaustive()
    }
}

impl<App, In> Builder<App, In>
where
    App: Send + Sync + 'static,
    In: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) fn new(name: &str, version: Version) -> Self {
        static BUILDERS: AtomicU64 = AtomicU64::new(0);
        let graph = Graph {
            saga: name.to_owned(),
            version,
            steps: Vec::new(),
            outputs: Vec::new(),
        };
        Self {
            id: BUILDERS.fetch_add(1, Relaxed),
            parts: RefCell::new(Parts {
                graph,
                code: Vec::new(),
                open: Vec::new(),
                upgrades: Vec::new(),
                wrong: None,
            }),
        }
    }

    /// Begins a step that calls this function.
    pub fn step<M, T>(
        &self,
        name: &str,
        function: impl StepFn<App, In, M, T>,
    ) -> Step<'_, App, In, M, T, M::Stage>
    where
        M: Inputs + 'static,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let act = Act::Call(Box::new(Typed::<_, (M, T)>::new(function)));
        self.begin(name, Work::Call, act)
    }

    /// Begins a step that waits for a time to pass, from when it begins; also over restarts.
    pub fn sleep(&self, name: &str, time: Duration) -> Step<'_, App, In, (), (), Before> {
        self.begin(name, Work::sleep(time), Act::Wait)
    }

    /// Begins a step that waits for a signal of its name, which somebody sends with a value.
    ///
    /// One that was sent before the step began counts. After the time the step has failed; a step after the pivot should
    /// have none.
    pub fn signal<T>(
        &self,
        name: &str,
        within: Option<Duration>,
    ) -> Step<'_, App, In, (), T, Before>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        self.begin(name, Work::signal(within), Act::Wait)
    }

    /// Begins a step that runs another saga, whose input is what the step needs and whose output is the step's.
    ///
    /// A saga with a pivot can't be undone when it is done: only a pivot, or a step after one, can run it.
    pub fn child<CIn, COut>(
        &self,
        name: &str,
        saga: &Saga<App, CIn, COut>,
    ) -> Step<'_, App, In, Child<CIn>, COut, NeedsMissing>
    where
        CIn: Serialize + DeserializeOwned + Send + Sync + 'static,
        COut: Serialize + DeserializeOwned + Send + 'static,
    {
        let graph = saga.graph();
        let work = Work::Child {
            saga: graph.saga.clone(),
            graph: graph.fingerprint(),
        };
        self.begin(name, work, Act::Child(saga.definition.clone()))
    }

    fn begin<M, T, S>(
        &self,
        name: &str,
        work: Work,
        act: Act<App, In>,
    ) -> Step<'_, App, In, M, T, S> {
        self.parts.borrow_mut().open.push(name.to_owned());
        Step::new(self, Draft::new(name, work, act))
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn parts(&self) -> &RefCell<Parts<App, In>> {
        &self.parts
    }

    /// Instances of an earlier version go on in this one, when no code of theirs is registered any more.
    ///
    /// Steps keep their names but for those that are renamed: old name, new name. One that has begun has to be there still, of the
    /// same kind, with no new step before it that is not done; else the instance waits as one that needs an upgrade. What it
    /// came to has to be what the new code reads, also its input.
    pub fn upgrades(&self, from: Version, changed: &[(&str, &str)]) {
        let own = |(old, new): &(&str, &str)| ((*old).to_owned(), (*new).to_owned());
        let renames = changed.iter().map(own).collect();
        let upgrade = Upgrade { from, renames };
        self.parts.borrow_mut().upgrades.push(upgrade);
    }

    /// Ends the saga: its output is that of these steps, `()` for none.
    ///
    /// # Errors
    ///
    /// What types can't show; see [`BuildError`].
    pub fn build<Out>(self, outputs: impl Needs<Out>) -> Result<Saga<App, In, Out>, BuildError>
    where
        Out: Serialize + DeserializeOwned + Send + 'static,
    {
        let outputs = outputs.places();
        let Parts {
            mut graph,
            code,
            open,
            upgrades,
            wrong,
        } = self.parts.into_inner();
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        if let Some(name) = open.into_iter().next() {
            return Err(BuildError::Unfinished { name });
        }
        if outputs.steps.iter().any(|(builder, _)| *builder != self.id) {
            let name = graph.saga;
            return Err(BuildError::ForeignStep { name });
        }
        graph.outputs = outputs.steps.into_iter().map(|(_, step)| step).collect();
        graph::check(&graph)?;
        let fingerprint = graph.fingerprint();
        Ok(Saga {
            definition: Arc::new(Definition {
                graph: Arc::new(graph),
                fingerprint,
                code,
                output: Place::of(outputs.is_tuple),
                upgrades,
            }),
            output: PhantomData,
        })
    }
}

impl<App, In> Parts<App, In> {
    /// Adds a step that says what becomes of it.
    pub(super) fn end(&mut self, step: graph::Node, code: Coded<App, In>) -> usize {
        if let Some(open) = self.open.iter().position(|open| *open == step.name) {
            self.open.remove(open);
        }
        let is_before = |role| matches!(role, Role::Undo | Role::NothingToUndo);
        if is_before(step.role) && self.graph.pivot().is_some() {
            let name = step.name.clone();
            self.fail(BuildError::AfterThePivot { name });
        }
        self.graph.steps.push(step);
        self.code.push(code);
        self.graph.steps.len() - 1
    }

    pub(super) fn fail(&mut self, error: BuildError) {
        self.wrong.get_or_insert(error);
    }
}
