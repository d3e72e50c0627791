//! Every interleaving, by loom: `cargo xtask loom`.
#![cfg(loom)]

mod breaker;
mod budget;
mod bulkhead;
mod latency;
mod window;
