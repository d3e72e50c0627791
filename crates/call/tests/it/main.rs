//! A pipeline as its user sees it.

mod smoke;
