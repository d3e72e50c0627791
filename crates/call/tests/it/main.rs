//! A pipeline as its user sees it.

#[cfg(feature = "config")]
mod config;
mod smoke;
