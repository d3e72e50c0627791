//! What a store promises, on every backend.

#[cfg(feature = "sqlite")]
mod commit_with;
#[cfg(feature = "sqlite")]
mod commit_with_others;
#[cfg(all(feature = "sqlite", target_os = "linux"))]
mod disk;
#[cfg(all(feature = "sqlite", target_os = "linux"))]
mod killed;
#[cfg(all(feature = "sqlite", target_os = "linux"))]
mod ledger;
#[cfg(all(feature = "sqlite", target_os = "linux"))]
mod lost_writes;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(all(feature = "sqlite", target_os = "linux"))]
mod process;
#[cfg(all(feature = "sqlite", target_os = "linux"))]
mod seed;
#[cfg(all(feature = "sqlite", target_os = "linux"))]
mod shim;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(all(feature = "sqlite", target_os = "linux"))]
mod sqlite_errors;
