//! A copy and its age.

mod cached;
mod chaos;
mod feed;
mod http;
mod loads;
mod log;
mod metrics;
mod read;
mod session;
mod sources;
mod store;
mod warm;
mod world;
