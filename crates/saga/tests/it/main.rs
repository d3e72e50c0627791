//! Sagas, run by the engine.

#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod engine;
mod follow;
mod hostile;
mod http;
mod local;
mod meanwhile;
mod operator;
mod outage;
mod processes;
mod random;
mod rows;
mod sweep;
mod upgrade;
mod workers;
mod world;
