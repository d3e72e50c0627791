//! What happens in a pipeline or an admission, told to `tracing` and to `metrics`.
//!
//! Both are listeners: give one, or both, to a pipeline when it is built.
//!
#![cfg_attr(
    feature = "tracing",
    doc = "- [`TracingListener`]: events with fields."
)]
#![cfg_attr(
    feature = "metrics",
    doc = "- [`MetricsListener`]: counters, histograms and one gauge."
)]
//!
//! For users of the crate `backstay`, `backstay_telemetry` is `backstay::telemetry`.
//!
//! `docs/telemetry.md` lists every event with its fields and every metric with its labels.

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod names;
#[cfg(feature = "metrics")]
mod table;
#[cfg(feature = "metrics")]
mod to_metrics;
#[cfg(feature = "tracing")]
mod to_tracing;

#[cfg(feature = "metrics")]
pub use to_metrics::MetricsListener;
#[cfg(feature = "tracing")]
pub use to_tracing::TracingListener;
