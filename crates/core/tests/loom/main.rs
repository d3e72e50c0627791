//! Every interleaving, by loom: `cargo xtask loom`.
#![cfg(loom)]

mod breaker;
mod budget;
mod bulkhead;
mod latency;
mod window;

/// Runs a model with fresh stripes each time.
fn model(run: impl Fn() + Sync + Send + 'static) {
    loom::model(move || {
        backstay_core::reset_for_model();
        run();
    });
}
