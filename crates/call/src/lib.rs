//! One protected call: deadline, bulkhead, budgeted retry, hedge, breaker and attempt timeout as one
//! [`Pipeline`].
//!
//! For users of the crate `backstay`, what `backstay_call` has is in `backstay` itself.

#[cfg(feature = "admission")]
mod admission;
mod attempt;
mod budget;
mod classify;
mod clock;
#[cfg(feature = "config")]
mod config;
pub mod deadline;
mod error;
pub mod event;
mod guard;
#[cfg(feature = "http")]
mod http;
mod inner;
mod key;
mod operation;
mod pipeline;
mod plan;
mod policy;
mod report;
mod retry;
mod run;
mod settings;
#[cfg(feature = "tower")]
mod tower;
mod turn;

#[cfg(feature = "http")]
pub use self::http::{HttpClassifier, HttpLayer, HttpService};
#[cfg(feature = "tower")]
pub use self::tower::{PipelineLayer, PipelineService};
#[cfg(feature = "admission")]
pub use admission::{
    Admission, AdmissionBuilder, AdmissionFuture, AdmissionLayer, AdmissionService,
};
pub use attempt::{Attempt, AttemptRecord, Attempts};
pub use budget::{Budget, ExtraPermit};
pub use classify::{AnyError, Classify, Nested};
#[cfg(feature = "config")]
pub use config::{Config, ConfigError};
pub use error::{CallError, Reason, Rejected, Stop};
pub use event::{Event, EventKind, Listener};
pub use guard::Entered;
pub use key::Key;
pub use pipeline::{
    BreakerHandle, BreakerState, BulkheadState, Classified, Explanation, Pipeline, PipelineBuilder,
    PipelineState,
};
pub use policy::Policy;
pub use report::Report;
pub use retry::Retry;
pub use run::Run;
pub use settings::Settings;

pub use backstay_core::backoff::Backoff;
pub use backstay_core::breaker::{Breaker, Control, Phase};
pub use backstay_core::budget::{BudgetOptions, BudgetSnapshot};
pub use backstay_core::bulkhead::{Bulkhead, Refusal};
pub use backstay_core::hedge::Hedge;
pub use backstay_core::{Abandoned, Class, Effect, Fault, Invalid, Outcome, Pushback};
