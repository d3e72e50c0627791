//! A local copy of remote state with a known age; cached look-ups.
//!
//! - [`Replica`] follows a [`Source`]: all of a set of keys, at hand on every read.
//! - [`Cached`] keeps what look-ups have brought: some of a set, for a while.
//!
//! Every read gives the value, its version, an age and where it came from. The value was the source's at some moment not
//! longer ago than the age, which counts from before the request that proved it.
//!
#![cfg_attr(feature = "store", doc = "```")]
#![cfg_attr(not(feature = "store"), doc = "```ignore")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use std::time::Duration;
//! use backstay_replica::{MaxAge, Replica, StoreSource};
//! use backstay_store::{Batch, MemoryStore};
//!
//! let store = MemoryStore::new().into_store();
//! store.commit(Batch::new().put("price/tea", "250")).await?;
//!
//! let source = StoreSource::new(store, "price/");
//! let prices: Replica<String, u32> = Replica::builder(source)
//!     .fail_closed(Duration::from_secs(15))
//!     .build()?
//!     .start()
//!     .await?;
//!
//! let reading = prices.get("tea", MaxAge::secs(1)).await?;
//! assert_eq!(reading.value.as_deref(), Some(&250));
//! assert!(reading.age <= Duration::from_secs(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! For users of the crate `backstay`, `backstay_replica` is `backstay::replica`. `docs/replica.md` is the guide.

mod builder;
mod cached;
mod clock;
#[cfg(any(
    feature = "etcd",
    feature = "http",
    feature = "nats",
    feature = "store"
))]
mod codec;
#[cfg(feature = "test-util")]
pub mod conformance;
mod disk;
mod drive;
#[cfg(feature = "etcd")]
pub mod etcd;
mod event;
mod follow;
#[cfg(feature = "test-util")]
pub mod history;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "store")]
mod keys;
#[cfg(any(feature = "etcd", feature = "nats"))]
mod lineage;
#[cfg(feature = "store")]
mod log;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(any(feature = "etcd", feature = "nats"))]
mod names;
#[cfg(feature = "nats")]
pub mod nats;
mod nudge;
mod options;
mod reading;
mod replica;
mod source;
mod table;
mod version;

pub use builder::{ReplicaBuilder, Unstarted};
pub use cached::{Answer, AnswerFrom, Cached, CachedBuilder, LoadError, LookupError, LookupEvent};
pub use clock::Clock;
#[cfg(any(
    feature = "etcd",
    feature = "http",
    feature = "nats",
    feature = "store"
))]
pub use codec::Codec;
#[cfg(feature = "etcd")]
pub use etcd::EtcdSource;
pub use event::{Ended, Event, WarmError};
pub use follow::Broken;
#[cfg(feature = "http")]
pub use http::{BoxError, HttpSource};
#[cfg(all(feature = "http", feature = "store"))]
pub use http::{Feed, FeedFuture};
#[cfg(feature = "store")]
pub use keys::StoreSource;
#[cfg(feature = "store")]
pub use log::{LogSource, Told};
#[cfg(feature = "nats")]
pub use nats::NatsSource;
pub use reading::{MaxAge, Origin, ReadError, Reading};
pub use replica::Replica;
pub use source::{Change, News, Session, Source, SourceError, Start};
pub use version::Version;

pub use backstay_core::backoff::Backoff;
pub use backstay_core::{Invalid, Moment};
