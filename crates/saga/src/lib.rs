//! Do it all or undo it: operations over several services that survive a crash at any point.
//!
//! A [`Saga`] is a graph of steps, each of which says what takes it back. An [`Engine`] runs instances of it on a store: what one process
//! has begun when it is lost, another goes on with, until all is done, all is undone, or a person has to look, as an [`Operator`].
//! The guide is `docs/sagas.md`. For users of the crate `backstay`, `backstay_saga` is `backstay::saga`.

mod cx;
mod define;
mod engine;
mod error;
mod graph;
mod hash;
#[cfg(feature = "http")]
mod http;
mod json;
mod local;
pub mod lock;
mod log;
mod machine;
mod note;
mod operator;
#[cfg(feature = "test-util")]
pub mod testkit;
mod timeline;

pub use cx::{Attempt, Cx, Purpose};
pub use define::{
    After, AfterPivot, Before, BeforePivot, Builder, HasInputs, Inputs, Needs, Ref, Retry, Saga,
    Stage, Step, StepFn, Steps, UndoFn,
};
pub use engine::{
    Engine, EngineBuilder, EngineError, Handle, SettleError, Settled, StartError, Why,
};
pub use error::{StepEffect, StepError, UndoError};
pub use graph::{BuildError, Fingerprint, Graph, Node, Role, Version, Work};
#[cfg(feature = "http")]
pub use http::{CxLayer, CxService};
pub use json::{Json, Unreadable};
pub use log::{Act, Action, Cause, Entry, Outcome, Parent, Record, Start};
pub use machine::Illegal;

pub use note::Standing;
pub use operator::{
    ActError, By, Follow, Listed, News, Operator, Page, Seen, ShowError, Shown, ShownStep,
};

pub use backstay_core::Invalid;
pub use backstay_core::backoff::Backoff;
