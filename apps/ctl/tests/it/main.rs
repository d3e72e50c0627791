//! The binary as it is run, against stores that other processes write to or have left behind.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cli;
mod decide;
mod events;
mod family;
mod postgres;
mod process;
mod run;
mod sagas;
mod see;
mod watch;
