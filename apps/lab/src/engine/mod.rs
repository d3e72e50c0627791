//! What every experiment stands on: a slot-limited server, an open-loop load, and the measures.

pub(crate) mod capacity;
pub(crate) mod client;
pub(crate) mod draw;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod measure;
pub(crate) mod plan;
pub(crate) mod running;
pub(crate) mod server;

use std::time::Duration;

/// An answer later than this after the call was due is worth nothing.
pub(crate) const DEADLINE: Duration = Duration::from_millis(250);
