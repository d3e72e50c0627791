//! Backstay.

pub use backstay_call::*;
