//! Refusing late writes where they land: in tables of your own, and behind HTTP.
//!
//! A leader that was stopped does not know that its time is over. The place where it writes can: it keeps the highest
//! token it has seen under a name and refuses a lower one. In a store that is
//! [`Batch::fenced`](backstay_store::Batch::fenced); in your own tables [`sql`]; behind HTTP a header, from the leader's
//! client to a `FenceLayer` before the handlers (feature `http`).
//!
//! The check has to be part of the write. What is checked first and written then can be overtaken in between.

#[cfg(feature = "http")]
mod answer;
#[cfg(feature = "http")]
mod client;
#[cfg(feature = "http")]
mod header;
#[cfg(feature = "http")]
mod layer;
#[cfg(feature = "http")]
mod service;
pub mod sql;

#[cfg(feature = "http")]
pub use answer::refusal;
#[cfg(feature = "http")]
pub use client::{LeaderError, LeaderLayer, LeaderService, NotSent};
#[cfg(feature = "http")]
pub use header::HEADER;
#[cfg(feature = "http")]
pub use layer::{FenceLayer, FenceLayerBuilder};
#[cfg(feature = "http")]
pub use service::FenceService;

pub use backstay_store::Fence;
