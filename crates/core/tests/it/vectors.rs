//! What all files of vectors have in common.

use std::fmt::Debug;
use std::time::Duration;

use backstay_core::Moment;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct File<C, S> {
    cases: Vec<Case<C, S>>,
}

#[derive(Deserialize)]
struct Case<C, S> {
    name: String,
    config: C,
    steps: Vec<S>,
}

/// Plays every case of a file: begins with its config, then takes its steps in order.
#[expect(clippy::print_stdout, reason = "shown for the step that fails")]
pub(crate) fn play<C: DeserializeOwned, S: DeserializeOwned + Debug, P>(
    file: &str,
    begin: impl Fn(C) -> P,
    take: impl Fn(&mut P, S),
) {
    let file: File<C, S> = serde_json::from_str(file).expect("a file of vectors");
    assert!(!file.cases.is_empty());
    for case in file.cases {
        let mut played = begin(case.config);
        for (number, step) in case.steps.into_iter().enumerate() {
            println!("{}: step {number}: {step:?}", case.name);
            take(&mut played, step);
        }
    }
}

pub(crate) fn at(millis: u64) -> Moment {
    Moment::from_nanos(0).plus(Duration::from_millis(millis))
}

pub(crate) fn once() -> u64 {
    1
}
