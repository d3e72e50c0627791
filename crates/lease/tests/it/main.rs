//! Who may act.

mod memory;
mod simulation;
mod sqlite;
