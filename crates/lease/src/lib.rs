//! Who may act: leases, leader election, and the fence that stops whoever may not any more.
//!
//! An [`Election`] lets one of many processes lead under a name at a time, by a lease that lives in a [`Leases`] home: a
//! store, or what else can tell a first from a second. A leader stops before its lease can be given to another, by its
//! own clock. A process that was stopped in between can't know: so every write carries the
//! [`fence`](Leadership::fence) of the term, and the place where it lands refuses an older one. What holds is **at most one
//! effective writer**, by fencing.
//!
//! For users of the crate `backstay`, `backstay_lease` is `backstay::lease`.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use backstay_lease::Election;
//! use backstay_store::{Batch, Event, MemoryStore};
//!
//! let store = MemoryStore::new().into_store();
//! let election = Election::builder(store.clone(), "sweeper").build()?;
//! println!("{}", election.explain());
//!
//! let leadership = election.campaign().await?;
//! let swept = Batch::new().append("sweeps", Event::new("swept", ""));
//! let swept = swept.fenced(leadership.fence());
//! leadership.run(store.commit(swept)).await??;
//! leadership.release().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod clock;
#[cfg(feature = "test-util")]
pub mod conformance;
#[cfg(any(feature = "etcd", feature = "nats"))]
mod connect;
mod election;
#[cfg(feature = "etcd")]
pub mod etcd;
mod event;
pub mod fencing;
mod keeper;
mod leadership;
mod leases;
#[cfg(feature = "nats")]
pub mod nats;
mod observer;
mod on_store;
#[cfg(any(feature = "etcd", feature = "nats"))]
mod owner;
#[cfg(feature = "schedule")]
pub mod schedule;
mod term;
mod timing;

#[cfg(feature = "test-util")]
pub use clock::TokioClock;
pub use clock::{BootClock, Clock};
#[cfg(any(feature = "etcd", feature = "nats"))]
pub use connect::ConnectError;
pub use election::{Election, ElectionBuilder, Resigned};
#[cfg(feature = "etcd")]
pub use etcd::EtcdLeases;
pub use event::{Event, StepDown};
pub use leadership::{Leadership, Lost};
pub use leases::{Acquired, Holder, Lease, Leases, Pending, Wanted};
#[cfg(feature = "nats")]
pub use nats::NatsLeases;
pub use observer::{Leader, Observer};
pub use timing::Explanation;

pub use backstay_core::{Invalid, Moment};
pub use backstay_store::{Fence, Owner, Unavailable};
