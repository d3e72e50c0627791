//! A pipeline as its user sees it.

#[cfg(feature = "admission")]
mod admission;
mod smoke;
