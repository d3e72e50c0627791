//! What a store promises, on every backend.

#[cfg(feature = "sqlite")]
mod commit_with;
#[cfg(feature = "sqlite")]
mod crash;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;
