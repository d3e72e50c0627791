//! What is promised about doing something once, on every backend.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod begin;
#[cfg(feature = "http")]
mod client;
mod ground;
#[cfg(feature = "http")]
mod handler;
mod held;
#[cfg(feature = "http")]
mod http;
#[cfg(all(feature = "http", unix))]
mod killed;
mod lost;
#[cfg(all(feature = "http", unix))]
mod process;
mod run;
mod undo;
#[cfg(feature = "http")]
mod undoes;
mod withdraw;
