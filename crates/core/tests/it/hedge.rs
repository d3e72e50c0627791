//! Runs `conformance/hedge.json`.

use std::time::Duration;

use backstay_core::hedge::{Hedge, HedgeTimer};
use serde::Deserialize;

use crate::vectors::{at, once, play};

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Step {
    Feed {
        at_ms: u64,
        latency_us: u64,
        #[serde(default = "once")]
        times: u64,
    },
    Ask {
        at_ms: u64,
        deadline_ms: u64,
        delay_us: Option<[u64; 2]>,
    },
}

/// CALL-16: the timer answers as the vectors say.
#[test]
fn hedge_vectors() {
    let file = include_str!("../../../../conformance/hedge.json");
    let begin = |options: Hedge| HedgeTimer::new(options).unwrap();
    play(file, begin, |timer, step: Step| match step {
        Step::Feed {
            at_ms,
            latency_us,
            times,
        } => {
            for _ in 0..times {
                timer.on_latency(Duration::from_micros(latency_us), at(at_ms));
            }
        }
        Step::Ask {
            at_ms,
            deadline_ms,
            delay_us,
        } => {
            let delay = timer.delay(Duration::from_millis(deadline_ms), at(at_ms));
            let Some([least, most]) = delay_us.map(|range| range.map(Duration::from_micros)) else {
                assert_eq!(delay, None);
                return;
            };
            assert!(
                delay.is_some_and(|delay| (least..=most).contains(&delay)),
                "{delay:?}"
            );
        }
    });
}
