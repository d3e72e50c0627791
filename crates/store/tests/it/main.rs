//! What a store promises, on every backend.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;
