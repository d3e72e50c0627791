//! Runs the vectors in `conformance/`.
#![cfg(not(loom))]

mod breaker;
mod bulkhead;
