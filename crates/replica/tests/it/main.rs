//! A copy and its age.

mod cached;
mod chaos;
mod http;
mod metrics;
mod read;
mod session;
mod store;
mod warm;
mod world;
