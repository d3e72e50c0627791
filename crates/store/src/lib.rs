//! Streams and keys, committed together, on ground that survives a crash.
//!
//! A [`Store`] has two primitives. A **stream** is an append-only list of [`Event`]s; a **key** holds a value that may
//! expire. One [`Batch`] changes any number of both, all or nothing, under expected versions and, where it says so,
//! under a [`Fence`]. Every change has a [`Position`] in one global order.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use backstay_store::{Append, Batch, Event, Expected, MemoryStore, Version};
//!
//! let store = MemoryStore::new().into_store();
//! let paid = Append::new(Event::new("paid", r#"{"by":"card"}"#)).expecting(Expected::Absent);
//! let commit = store
//!     .commit(Batch::new().append("order-7", paid).put("orders/7", "paid"))
//!     .await?;
//! assert_eq!(commit.version("order-7"), Some(Version::new(1)));
//!
//! let events = store.read("order-7", Version::START, 100).await?;
//! assert_eq!(events[0].kind, "paid");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! For users of the crate `backstay`, `backstay_store` is `backstay::store`.
//!
//! [`SqliteStore`] keeps it in a file, `PostgresStore` (feature `postgres`) on a server. [`MemoryStore`] keeps it nowhere: for tests and simulations.

mod backend;
mod batch;
#[cfg(feature = "test-util")]
mod between;
mod claim;
mod clock;
mod commit;
#[cfg(feature = "test-util")]
pub mod conformance;
mod entry;
mod limits;
mod memory;
mod position;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod prefix;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod store;
mod tail;
mod transactional;
mod with;

pub use backend::{Backend, Capabilities, Durability, Pending};
pub use batch::{Append, Batch, BatchId, Event, Expected, Fence, Put};
#[cfg(feature = "test-util")]
pub use between::Between;
pub use claim::{Claim, ClaimError, Owner};
#[cfg(feature = "test-util")]
pub use clock::TestClock;
pub use clock::Timestamp;
pub use commit::{Cause, Commit, CommitError, Conflict, Unavailable};
pub use entry::{Change, Entry, Recorded};
pub use limits::Limits;
pub use memory::MemoryStore;
pub use position::{Position, Version};
#[cfg(feature = "postgres")]
pub use postgres::{ConnectError, PostgresOptions, PostgresStore};
#[cfg(feature = "sqlite")]
pub use sqlite::{BackUpError, OpenError, SqliteOptions, SqliteStore};
pub use store::Store;
pub use tail::{Look, Tail, Watch, WatchError};
pub use transactional::Transactional;
pub use with::{CommitWithError, CommittedWith};

pub use backstay_core::{Effect, Invalid};
