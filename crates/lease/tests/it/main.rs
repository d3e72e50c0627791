//! Who may act.

mod memory;
mod sqlite;
