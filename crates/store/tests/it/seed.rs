//! Chance that can be had again.

use std::env;
use std::hash::{BuildHasher, RandomState};

/// Set it to what a failed test has printed.
const VARIABLE: &str = "BACKSTAY_SEED";

/// Another chance in every run, unless the environment says which. Shown where a test fails.
pub(crate) fn chance(test: &str) -> fastrand::Rng {
    let seed = env::var(VARIABLE).map_or_else(
        |_| RandomState::new().hash_one(test),
        |seed| seed.parse().expect("a number"),
    );
    eprintln!("{test}: {VARIABLE}={seed}");
    fastrand::Rng::with_seed(seed)
}
