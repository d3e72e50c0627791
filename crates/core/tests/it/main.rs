//! Runs the vectors in `conformance/`.
#![cfg(all(not(loom), feature = "serde"))]

mod backoff;
mod breaker;
mod budget;
mod bulkhead;
mod deadline;
mod hedge;
mod vectors;
mod windows;
