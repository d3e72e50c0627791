//! Who may act.

mod fencing;
mod home;
mod memory;
mod process;
mod schedule;
mod simulation;
mod sqlite;
mod zombie;
