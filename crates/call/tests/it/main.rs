//! A pipeline as its user sees it.

#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_class;
mod smoke;
#[cfg(feature = "tower")]
mod tower;
