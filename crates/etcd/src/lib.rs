//! Questions to etcd's JSON gateway.
//!
//! For the crates of backstay that keep something in etcd, or a copy of what is there. What the questions are is theirs.

mod client;
mod messages;
mod number;

pub use client::{Answer, BoxError, Client, Failure, codes};
pub use messages::Messages;
pub use number::number;
