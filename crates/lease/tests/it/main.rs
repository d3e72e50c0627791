//! Who may act.

mod home;
mod memory;
mod process;
mod simulation;
mod sqlite;
mod zombie;
