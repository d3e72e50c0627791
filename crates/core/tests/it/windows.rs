//! Runs `conformance/windows.json`.

use backstay_core::window::{CountWindow, TimeWindow};
use serde::Deserialize;

use crate::vectors::{once, play};

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Config {
    Count(u32),
    Time(usize),
}

enum Window {
    Count(CountWindow),
    Time(TimeWindow<3>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    generation: u64,
    #[serde(default)]
    tick: u64,
    add: Option<Add>,
    #[serde(default = "once")]
    times: u64,
    sum: Option<Sum>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Add {
    Flags(Vec<u64>),
    Kind(usize),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Sum {
    Count(u64, [u64; 4]),
    Time([u64; 3]),
}

/// CALL-6, CALL-7: both windows count as the vectors say.
#[test]
fn windows_vectors() {
    let file = include_str!("../../../../conformance/windows.json");
    let begin = |config: Config| match config {
        Config::Count(calls) => Window::Count(CountWindow::new(calls)),
        Config::Time(kinds) => {
            assert_eq!(kinds, 3);
            Window::Time(TimeWindow::new())
        }
    };
    play(file, begin, |window, step: Step| {
        let Step {
            generation, tick, ..
        } = step;
        for _ in 0..step.times {
            match (&*window, &step.add) {
                (_, None) => {}
                (Window::Count(window), Some(Add::Flags(flags))) => {
                    window.add(generation, flags.iter().map(|flag| 1 << flag).sum());
                }
                (Window::Time(window), Some(Add::Kind(kind))) => {
                    window.add(generation, tick, *kind);
                }
                (_, Some(add)) => panic!("{add:?} is of the other window"),
            }
        }
        let found = match window {
            Window::Count(window) => {
                let (calls, flags) = window.sum(generation);
                Sum::Count(calls, flags)
            }
            Window::Time(window) => Sum::Time(window.sum(generation, tick)),
        };
        if let Some(sum) = step.sum {
            assert_eq!(found, sum);
        }
    });
}
