use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::Builder;
use super::code::{Called, Forward, Undo, Undoing};
use super::policy::Policy;
use crate::cx::{Cx, Parts};
use crate::graph::{Fingerprint, Graph, Version};
use crate::json::{Json, Unreadable};

/// An operation over several services that ends done or undone. Cheap to clone.
///
/// `App` is what its steps work with, `In` what one instance is started with, `Out` what it comes to.
pub struct Saga<App, In, Out> {
    pub(super) definition: Arc<Definition<App, In>>,
    pub(super) output: PhantomData<fn() -> Out>,
}

impl<App, In, Out> Clone for Saga<App, In, Out> {
    fn clone(&self) -> Self {
        Self {
            definition: self.definition.clone(),
            output: PhantomData,
        }
    }
}

impl<App, In, Out> fmt::Debug for Saga<App, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Saga").field(&self.definition.graph).finish()
    }
}

impl<App, In> Saga<App, In, ()>
where
    App: Send + Sync + 'static,
    In: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Begins a saga of this name.
    ///
    /// The name and the version are the author's: a change of the graph that instances under way can't live with needs a
    /// new version.
    pub fn builder(name: &str, version: Version) -> Builder<App, In> {
        Builder::new(name, version)
    }
}

impl<App, In, Out> Saga<App, In, Out> {
    /// What it consists of.
    pub fn graph(&self) -> &Graph {
        &self.definition.graph
    }

    /// What tells its graph from every other.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.definition.fingerprint
    }
}

impl<App, In, Out> Saga<App, In, Out>
where
    App: Send + Sync + 'static,
    In: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    pub(crate) fn run(&self) -> Arc<dyn Run<App>> {
        self.definition.clone()
    }
}

/// A saga of which only the application's type is left.
pub(super) struct Definition<App, In> {
    pub(super) graph: Arc<Graph>,
    pub(super) fingerprint: Fingerprint,
    pub(super) code: Vec<Coded<App, In>>,
    pub(super) output: Place,
    pub(super) upgrades: Vec<Upgrade>,
}

/// How instances of an earlier version go on in this one.
pub(crate) struct Upgrade {
    pub(crate) from: Version,
    /// Old names and new ones.
    pub(crate) renames: Vec<(String, String)>,
}

/// What a step does, and how.
pub(super) struct Coded<App, In> {
    pub(super) act: Act<App, In>,
    pub(super) undo: Option<Box<dyn Undo<App, In>>>,
    pub(super) inputs: Place,
    /// The type of its output.
    pub(super) output: TypeId,
    pub(super) policy: Policy,
}

/// What a step does.
pub(super) enum Act<App, In> {
    Call(Box<dyn Forward<App, In>>),
    /// Nothing: time passes, or a signal comes.
    Wait,
    Child(Arc<dyn Run<App>>),
}

/// How outputs are put together for who takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    None,
    One,
    Tuple,
}

impl Place {
    pub(super) fn of(is_tuple: bool) -> Self {
        if is_tuple { Self::Tuple } else { Self::One }
    }

    pub(crate) fn put(self, outputs: &[Json]) -> Json {
        match (self, outputs) {
            (Self::Tuple, outputs) => Json::list(outputs),
            (Self::One, [one]) => one.clone(),
            _ => Json::null(),
        }
    }
}

/// What the engine goes by.
pub(crate) trait Run<App>: Send + Sync {
    fn graph(&self) -> &Arc<Graph>;
    fn fingerprint(&self) -> &Fingerprint;
    fn policy(&self, step: usize) -> &Policy;
    fn child(&self, step: usize) -> Option<&Arc<dyn Run<App>>>;
    /// Earlier versions whose instances can go on in this one.
    fn upgrades(&self) -> &[Upgrade];
    /// The input of an instance, for its calls.
    fn input(&self, input: &Json) -> Result<Input, Unreadable>;
    /// The type that a step comes to.
    fn output_type(&self, step: usize) -> TypeId;
    /// What a step is given, of the outputs of those that it needs.
    fn inputs(&self, step: usize, outputs: &[Json]) -> Json;
    /// Calls a step's function; none if it has none.
    fn call(
        &self,
        step: usize,
        app: &Arc<App>,
        parts: Parts,
        inputs: &Json,
    ) -> Option<Result<Called, Unreadable>>;
    /// Calls a step's undo; none if it has none.
    fn undo(
        &self,
        step: usize,
        app: &Arc<App>,
        parts: Parts,
        output: Option<&Json>,
        inputs: &Json,
    ) -> Option<Result<Undoing, Unreadable>>;
    /// What the saga comes to, of the outputs of the graph's steps.
    fn output(&self, outputs: &[Json]) -> Json;
}

/// An input, read once for all calls of an instance.
pub(crate) type Input = Arc<dyn Any + Send + Sync>;

impl<App, In> Run<App> for Definition<App, In>
where
    App: Send + Sync + 'static,
    In: DeserializeOwned + Send + Sync + 'static,
{
    fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn policy(&self, step: usize) -> &Policy {
        &self.code[step].policy
    }

    fn child(&self, step: usize) -> Option<&Arc<dyn Run<App>>> {
        match &self.code[step].act {
            Act::Child(child) => Some(child),
            Act::Call(_) | Act::Wait => None,
        }
    }

    fn upgrades(&self) -> &[Upgrade] {
        &self.upgrades
    }

    fn input(&self, input: &Json) -> Result<Input, Unreadable> {
        Ok(Arc::new(input.read::<In>()?))
    }

    fn output_type(&self, step: usize) -> TypeId {
        self.code[step].output
    }

    fn inputs(&self, step: usize, outputs: &[Json]) -> Json {
        self.code[step].inputs.put(outputs)
    }

    fn call(
        &self,
        step: usize,
        app: &Arc<App>,
        parts: Parts,
        inputs: &Json,
    ) -> Option<Result<Called, Unreadable>> {
        let Act::Call(function) = &self.code[step].act else {
            return None;
        };
        Some(function.call(Cx::new(app.clone(), parts)?, inputs))
    }

    fn undo(
        &self,
        step: usize,
        app: &Arc<App>,
        parts: Parts,
        output: Option<&Json>,
        inputs: &Json,
    ) -> Option<Result<Undoing, Unreadable>> {
        let undo = self.code[step].undo.as_ref()?;
        Some(undo.call(Cx::new(app.clone(), parts)?, output, inputs))
    }

    fn output(&self, outputs: &[Json]) -> Json {
        self.output.put(outputs)
    }
}
