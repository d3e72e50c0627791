//! Write side and read side, on real stores.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod aside;
mod commands;
mod documents;
#[cfg(feature = "http")]
mod http;
mod lost;
mod memory;
mod metrics;
mod nats;
mod postgres;
mod set_aside;
mod tables;
mod torn;
mod webhook;
mod world;
