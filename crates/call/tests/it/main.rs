//! A pipeline as its user sees it.

#[cfg(feature = "http")]
mod http;
mod smoke;
#[cfg(feature = "tower")]
mod tower;
