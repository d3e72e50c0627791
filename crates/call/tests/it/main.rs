//! A pipeline as its user sees it.

mod smoke;
#[cfg(feature = "tower")]
mod tower;
