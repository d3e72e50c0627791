//! Runs `conformance/breaker.json`.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use backstay_core::breaker::{Admission, Breaker, Circuit, Control, Phase, Rejection, Transition};
use backstay_core::{Abandoned, Fault, Moment, Outcome};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    config: Breaker,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    at_ms: u64,
    #[serde(flatten)]
    event: Event,
    phase: Option<String>,
    cause: Option<String>,
    stale: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Event {
    Calls {
        calls: u64,
        outcome: String,
        #[serde(default)]
        taking_ms: u64,
    },
    Start {
        start: String,
        expect: Answer,
    },
    End {
        end: String,
        outcome: String,
    },
    Slow {
        slow: String,
    },
    Control {
        control: String,
    },
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Answer {
    Passed(String),
    Rejected {
        rejected: String,
        retry_after_ms: Option<u64>,
    },
}

struct Player {
    circuit: Circuit,
    out: HashMap<String, Admission>,
    cause: Cell<Option<&'static str>>,
}

impl Player {
    fn play(&mut self, step: &Step) {
        let now = at(step.at_ms);
        let note = |transition: Transition| self.cause.set(Some(transition.cause.name()));
        match &step.event {
            Event::Calls {
                calls,
                outcome,
                taking_ms,
            } => {
                for call in 0..*calls {
                    let start = at(step.at_ms + call * taking_ms);
                    if let Ok(admission) = self.circuit.admit(start, note) {
                        let end = start.plus(Duration::from_millis(*taking_ms));
                        self.circuit
                            .end(admission, outcome_named(outcome), end, note);
                    }
                }
            }
            Event::Start { start, expect } => {
                let answer = match self.circuit.admit(now, note) {
                    Ok(admission) => {
                        let kind = if admission.is_probe() {
                            "probe"
                        } else {
                            "admitted"
                        };
                        self.out.insert(start.clone(), admission);
                        Answer::Passed(kind.to_owned())
                    }
                    Err(rejection) => rejected(rejection),
                };
                assert_eq!(answer, *expect);
            }
            Event::End { end, outcome } => {
                let admission = self.out.remove(end).expect("a started call");
                self.circuit
                    .end(admission, outcome_named(outcome), now, note);
            }
            Event::Slow { slow } => {
                let admission = self.out.get_mut(slow).expect("a started call");
                assert_eq!(self.circuit.slow_at(admission), Some(now));
                self.circuit.on_slow(admission, now, note);
                assert_eq!(self.circuit.slow_at(admission), None);
            }
            Event::Control { control } => self.circuit.control(control_named(control), now, note),
        }
        let snapshot = self.circuit.snapshot(now);
        if let Some(phase) = &step.phase {
            assert_eq!(phase_name(snapshot.phase), phase);
        }
        if let Some(cause) = &step.cause {
            assert_eq!(self.cause.get(), Some(cause.as_str()));
        }
        if let Some(stale) = step.stale {
            assert_eq!(snapshot.stale, stale);
        }
    }
}

/// CALL-3, CALL-5, CALL-6, CALL-7, CALL-8, CALL-9, CALL-10: the breaker decides as the vectors say.
#[test]
fn breaker_vectors() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../../conformance/breaker.json")).unwrap();
    for case in vectors.cases {
        let circuit = Circuit::new(case.config, at(0)).unwrap();
        let mut player = Player {
            circuit,
            out: HashMap::new(),
            cause: Cell::new(None),
        };
        for (number, step) in case.steps.iter().enumerate() {
            println!("{}: step {number}: {step:?}", case.name);
            player.play(step);
        }
    }
}

fn at(ms: u64) -> Moment {
    Moment::from_nanos(ms * 1_000_000)
}

fn rejected(rejection: Rejection) -> Answer {
    Answer::Rejected {
        rejected: phase_name(rejection.phase).to_owned(),
        retry_after_ms: rejection
            .retry_after
            .map(|time| u64::try_from(time.as_millis()).expect("short times")),
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::Open => "open",
        Phase::HalfOpen => "half_open",
    }
}

fn control_named(name: &str) -> Control {
    match name {
        "automatic" => Control::Automatic,
        "forced_open" => Control::ForcedOpen,
        "forced_closed" => Control::ForcedClosed,
        "observing" => Control::Observing,
        other => panic!("no control is called {other}"),
    }
}

fn outcome_named(name: &str) -> Outcome {
    match name {
        "success" => Outcome::Success,
        "failure" => Outcome::Failure(Fault::Error),
        "overloaded" => Outcome::Failure(Fault::Overloaded),
        "ignored" => Outcome::Ignored,
        "caller_gone" => Outcome::Abandoned(Abandoned::CallerGone),
        "deadline_passed" => Outcome::Abandoned(Abandoned::DeadlinePassed),
        "lost_race" => Outcome::Abandoned(Abandoned::LostRace),
        "shutting_down" => Outcome::Abandoned(Abandoned::ShuttingDown),
        other => panic!("no outcome is called {other}"),
    }
}
