//! A pipeline as its user sees it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

#[cfg(feature = "admission")]
mod admission;
mod breaker;
mod budget;
mod bulkhead;
mod cancel;
mod common;
#[cfg(feature = "config")]
mod config;
mod deadline;
mod errors;
mod every_poll;
mod explain;
mod fallback;
mod hedge;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_class;
mod observe;
mod own_rejections;
mod panics;
mod polls;
mod pushback;
mod reconfigure;
mod retry;
mod send;
mod smoke;
#[cfg(feature = "tower")]
mod tower;
mod validate;
mod wakers;
