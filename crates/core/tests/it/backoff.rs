//! Runs `conformance/backoff.json`.

use std::time::Duration;

use backstay_core::backoff::Backoff;
use serde::Deserialize;

use crate::vectors::play;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    retry: u32,
    #[serde(default)]
    previous_ns: u64,
    random: String,
    delay_ns: u64,
    longest_ns: Option<u64>,
}

/// CALL-12: the backoff waits as the vectors say.
#[test]
fn backoff_vectors() {
    let file = include_str!("../../../../conformance/backoff.json");
    let begin = |options: Backoff| {
        options.validate("backoff").unwrap();
        options
    };
    play(file, begin, |backoff, step: Step| {
        let random = u64::from_str_radix(&step.random, 16).unwrap();
        let previous = Duration::from_nanos(step.previous_ns);
        let delay = backoff.delay(step.retry, previous, random);
        assert_eq!(delay, Duration::from_nanos(step.delay_ns));
        if let Some(longest) = step.longest_ns {
            assert_eq!(backoff.longest(step.retry), Duration::from_nanos(longest));
        }
    });
}
