//! Functions of the user's, without their types.

use std::fmt;
use std::marker::PhantomData;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{StepError, UndoError};
use crate::json::{Json, Unreadable};
use crate::{Attempt, Cx};

/// What a step's function is given besides the context: nothing, or one value of type `N`.
pub trait Inputs: sealed::Sealed {
    /// The value.
    type Value: DeserializeOwned + Send + 'static;
    /// Where the step stands as long as nothing is said of its needs.
    type Stage;
}

impl Inputs for () {
    type Value = ();
    type Stage = super::stage::Before;
}

impl<N: DeserializeOwned + Send + 'static> Inputs for (N,) {
    type Value = N;
    type Stage = super::stage::NeedsMissing;
}

/// The input of a saga that is a step of another.
#[derive(Debug)]
pub struct Child<C>(PhantomData<fn() -> C>);

impl<C: DeserializeOwned + Send + 'static> Inputs for Child<C> {
    type Value = C;
    type Stage = super::stage::NeedsMissing;
}

/// A step that is no saga of its own.
#[diagnostic::on_unimplemented(
    message = "a saga within a saga is undone with it",
    label = "runs a saga",
    note = "end the step with `undo_child`"
)]
pub trait NoChild: sealed::Sealed {}

impl NoChild for () {}
impl<N> NoChild for (N,) {}

mod sealed {
    pub trait Sealed {}

    impl<C> Sealed for super::Child<C> {}

    impl Sealed for () {}
    impl<N> Sealed for (N,) {}
}

/// A step's function: `async fn(Cx) -> Result<T, StepError>`, or with what it needs after the context.
#[diagnostic::on_unimplemented(
    message = "this is no function of a step",
    label = "not an `async fn(Cx<{App}, {In}>, ..) -> Result<_, StepError>`",
    note = "it takes the context and, where it needs other steps, their outputs as one value or a tuple; its future is \
            `Send`, and its output can be written and read by serde"
)]
pub trait StepFn<App, In, N, T>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(&self, cx: Cx<App, In>, inputs: &Json) -> Result<Called, Unreadable>;
}

/// The future of a step.
pub(crate) type Called = BoxFuture<'static, Result<Json, StepError>>;

impl<App, In, T, F, Fut> StepFn<App, In, (), T> for F
where
    F: Fn(Cx<App, In>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, StepError>> + Send + 'static,
    T: Serialize + 'static,
{
    fn call(&self, cx: Cx<App, In>, _: &Json) -> Result<Called, Unreadable> {
        Ok(written(self(cx)).boxed())
    }
}

impl<App, In, N, T, F, Fut> StepFn<App, In, (N,), T> for F
where
    F: Fn(Cx<App, In>, N) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, StepError>> + Send + 'static,
    N: DeserializeOwned,
    T: Serialize + 'static,
{
    fn call(&self, cx: Cx<App, In>, inputs: &Json) -> Result<Called, Unreadable> {
        Ok(written(self(cx, inputs.read()?)).boxed())
    }
}

async fn written<T: Serialize + 'static>(
    step: impl Future<Output = Result<T, StepError>>,
) -> Result<Json, StepError> {
    let output = step.await?;
    // It was done, and what came of it is not known to anybody: as after a lost reply.
    Json::write(&output).map_err(StepError::unknown)
}

/// A step's undo: `async fn(Cx, Attempt<T>) -> Result<(), UndoError>`, or with what the step needs after that.
#[diagnostic::on_unimplemented(
    message = "this is no undo of the step",
    label = "not an `async fn(Cx<{App}, {In}>, Attempt<{T}>, ..) -> Result<(), UndoError>`",
    note = "it takes the context, what is known of the step, and, if it wants, what the step's function takes"
)]
pub trait UndoFn<App, In, N, T, M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn call(
        &self,
        cx: Cx<App, In>,
        output: Option<&Json>,
        inputs: &Json,
    ) -> Result<Undoing, Unreadable>;
}

/// The future of an undo.
pub(crate) type Undoing = BoxFuture<'static, Result<(), UndoError>>;

impl<App, In, N, T, F, Fut> UndoFn<App, In, N, T, ()> for F
where
    F: Fn(Cx<App, In>, Attempt<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), UndoError>> + Send + 'static,
    T: DeserializeOwned,
{
    fn call(
        &self,
        cx: Cx<App, In>,
        output: Option<&Json>,
        _: &Json,
    ) -> Result<Undoing, Unreadable> {
        Ok(self(cx, Attempt::read(output)?).boxed())
    }
}

impl<App, In, N, T, F, Fut> UndoFn<App, In, (N,), T, (N,)> for F
where
    F: Fn(Cx<App, In>, Attempt<T>, N) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), UndoError>> + Send + 'static,
    N: DeserializeOwned,
    T: DeserializeOwned,
{
    fn call(
        &self,
        cx: Cx<App, In>,
        output: Option<&Json>,
        inputs: &Json,
    ) -> Result<Undoing, Unreadable> {
        Ok(self(cx, Attempt::read(output)?, inputs.read()?).boxed())
    }
}

/// A step's function of which only the context's types are left.
pub(crate) trait Forward<App, In>: Send + Sync {
    fn call(&self, cx: Cx<App, In>, inputs: &Json) -> Result<Called, Unreadable>;
}

/// An undo of which only the context's types are left.
pub(crate) trait Undo<App, In>: Send + Sync {
    fn call(
        &self,
        cx: Cx<App, In>,
        output: Option<&Json>,
        inputs: &Json,
    ) -> Result<Undoing, Unreadable>;
}

/// A function with the types that are forgotten.
pub(super) struct Typed<F, M> {
    function: F,
    types: PhantomData<fn() -> M>,
}

impl<F, M> Typed<F, M> {
    pub(super) fn new(function: F) -> Self {
        let types = PhantomData;
        Self { function, types }
    }
}

impl<F, M> fmt::Debug for Typed<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").finish_non_exhaustive()
    }
}

impl<App, In, N, T, F> Forward<App, In> for Typed<F, (N, T)>
where
    F: StepFn<App, In, N, T>,
{
    fn call(&self, cx: Cx<App, In>, inputs: &Json) -> Result<Called, Unreadable> {
        self.function.call(cx, inputs)
    }
}

impl<App, In, N, T, M, F> Undo<App, In> for Typed<F, (N, T, M)>
where
    F: UndoFn<App, In, N, T, M>,
{
    fn call(
        &self,
        cx: Cx<App, In>,
        output: Option<&Json>,
        inputs: &Json,
    ) -> Result<Undoing, Unreadable> {
        self.function.call(cx, output, inputs)
    }
}
