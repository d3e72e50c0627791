//! Decisions without I/O: the state machines behind Backstay's policies.
//!
//! Nothing here reads a clock, draws a random number, spawns, sleeps or does I/O. A policy takes the
//! current [`Moment`] and an event and answers a decision; the driver (`backstay-call`) owns the clock, the
//! random source and the futures. That is what makes every rule testable from a table.
//!
//! Shared policies take `&self`. Their happy path is lock-free and striped over threads, so that two threads
//! that share a policy do not fight for a cache line; only rare events (a failure, a full bulkhead, a retry)
//! take a short lock, and never while user code runs.

pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod deadline;
#[cfg(feature = "serde")]
pub mod duration_text;
pub mod hedge;
mod invalid;
mod latency;
mod moment;
mod outcome;
pub mod retry_share;
mod stripe;
pub mod structured;
mod sync;
pub mod window;

pub use invalid::Invalid;
pub use latency::Latency;
pub use moment::Moment;
pub use outcome::{Abandoned, Class, Effect, Fault, Outcome, Pushback};

#[cfg(loom)]
pub use stripe::reset_for_model;
