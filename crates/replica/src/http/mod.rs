//! A copy over HTTP, and the server's side of it.

mod client;
#[cfg(feature = "store")]
mod feed;
mod follow;
#[cfg(feature = "store")]
mod looks;
mod wire;

pub use client::{BoxError, HttpSource};
#[cfg(feature = "store")]
pub use feed::{Feed, FeedFuture};
