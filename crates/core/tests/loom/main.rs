//! The lock-free structures under every order of their steps that loom can think of.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test --release -p backstay-core --test loom`

#![cfg(loom)]

mod budget;
mod latency;
mod window;

/// Runs a model with fresh stripes each time.
fn model(run: impl Fn() + Sync + Send + 'static) {
    loom::model(move || {
        backstay_core::reset_for_model();
        run();
    });
}
