//! Every interleaving, by loom: `cargo xtask loom`.
#![cfg(loom)]

mod breaker;
mod budget;
mod bulkhead;
mod latency;
mod window;

/// Runs a model with fresh stripes each time, one model at a time: they share the numbering of stripes.
fn model(run: impl Fn() + Sync + Send + 'static) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    loom::model(move || {
        backstay_core::reset_for_model();
        run();
    });
}
