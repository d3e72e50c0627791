//! Runs the vectors in `conformance/`.
#![cfg(all(not(loom), feature = "serde"))]

mod backoff;
mod budget;
mod deadline;
mod hedge;
mod vectors;
mod windows;
