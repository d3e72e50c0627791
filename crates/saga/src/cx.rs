//! What a step's function knows about its call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::Fence;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::define::Input;
use crate::hash;
use crate::json::{Json, Unreadable};
use crate::local::Locals;

/// The context of one attempt of a step or of its undo. Cheap to clone.
///
/// `App` is what the application gave the engine, `In` what the instance was started with.
pub struct Cx<App, In> {
    app: Arc<App>,
    input: Arc<In>,
    call: Arc<Call>,
}

/// A context before it has types.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) input: Input,
    pub(crate) call: Arc<Call>,
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) group: Arc<str>,
    pub(crate) saga: Arc<str>,
    pub(crate) id: Arc<str>,
    pub(crate) number: usize,
    pub(crate) step: String,
    pub(crate) purpose: Purpose,
    pub(crate) attempt: u32,
    pub(crate) fence: Fence,
    pub(crate) deadline: Instant,
    pub(crate) locals: Locals,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// To do the step.
    Do,
    /// To undo it.
    Undo,
}

impl<App, In> Clone for Cx<App, In> {
    fn clone(&self) -> Self {
        Self {
            app: self.app.clone(),
            input: self.input.clone(),
            call: self.call.clone(),
        }
    }
}

impl<App, In> fmt::Debug for Cx<App, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cx").field(&self.call).finish()
    }
}

impl<App, In: Send + Sync + 'static> Cx<App, In> {
    /// None if the input has another type, which it can't have.
    pub(crate) fn new(app: Arc<App>, parts: Parts) -> Option<Self> {
        Some(Self {
            app,
            input: parts.input.downcast().ok()?,
            call: parts.call,
        })
    }
}

impl<App, In> Cx<App, In> {
    pub(crate) fn call(&self) -> &Call {
        &self.call
    }

    /// What the application gave the engine.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// What the instance was started with.
    pub fn input(&self) -> &In {
        &self.input
    }

    /// The saga's name.
    pub fn saga(&self) -> &str {
        &self.call.saga
    }

    /// The instance's id.
    pub fn id(&self) -> &str {
        &self.call.id
    }

    /// The step's name.
    pub fn step(&self) -> &str {
        &self.call.step
    }

    /// Whether the step is to be done or undone.
    pub fn purpose(&self) -> Purpose {
        self.call.purpose
    }

    /// Which attempt it is, from 1 on.
    pub fn attempt(&self) -> u32 {
        self.call.attempt
    }

    /// The idempotency key of the step, the same for each of its attempts and in its undo.
    pub fn key(&self) -> String {
        self.call.key("do")
    }

    /// The idempotency key of the step's undo, the same for each of its attempts.
    pub fn undo_key(&self) -> String {
        self.call.key("undo")
    }

    /// Under this the worker runs the instance. Who keeps the highest token refuses calls of a worker that was replaced.
    pub fn fence(&self) -> &Fence {
        &self.call.fence
    }

    /// What is left of the attempt's time.
    pub fn time_left(&self) -> Duration {
        self.call.deadline.saturating_duration_since(Instant::now())
    }
}

impl Call {
    /// The same for the same parts, and for no others.
    pub(crate) fn key(&self, purpose: &str) -> String {
        let parts = [&*self.group, &self.saga, &self.id, &self.step, purpose];
        let mut digits = hash::hex(&parts.map(str::as_bytes));
        digits.truncate(32);
        digits
    }
}

/// What is known of a step that is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// It was done, and this came of it.
    Done(T),
    /// It may have been done, or be done yet: a call of it can arrive after the undo.
    Unknown,
}

impl<T: DeserializeOwned> Attempt<T> {
    pub(crate) fn read(output: Option<&Json>) -> Result<Self, Unreadable> {
        Ok(match output {
            Some(output) => Self::Done(output.read()?),
            None => Self::Unknown,
        })
    }
}
