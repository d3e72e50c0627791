//! The vectors of `conformance/bulkhead.json`, which say in their `about` what each part means.

use std::collections::BTreeMap;
use std::time::Duration;

use backstay_core::Moment;
use backstay_core::bulkhead::{Bulkhead, Entry, Gate, Permit, Refusal, Ticket, Turn, Wakes};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "about")]
    _about: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    config: Config,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    limit: u32,
    queue: u32,
    max_wait_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at_ms: u64,
    event: Event,
    expect: Option<String>,
    wait_until_ms: Option<u64>,
    expected_wait_ms: Option<u64>,
    #[serde(default)]
    wakes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Event {
    Enter {
        id: String,
        #[serde(default = "one")]
        weight: u32,
        leave_by_ms: Option<u64>,
    },
    Release(String),
    Leave(String),
    Poll(String),
    Set(Config),
    Look {
        in_use: u32,
        waiting: u32,
    },
}

fn one() -> u32 {
    1
}

impl Config {
    fn options(&self) -> Bulkhead {
        let options = Bulkhead::limit(self.limit).queue(self.queue);
        match self.max_wait_ms {
            Some(millis) => options.max_wait(Duration::from_millis(millis)),
            None => options,
        }
    }
}

struct Driver {
    gate: Gate<String>,
    permits: BTreeMap<String, Permit>,
    tickets: BTreeMap<String, Ticket>,
    woken: Vec<String>,
}

impl Driver {
    fn act(&mut self, step: &Step) -> Option<&'static str> {
        let now = moment(step.at_ms);
        match &step.event {
            Event::Enter {
                id,
                weight,
                leave_by_ms,
            } => {
                let leave_by = leave_by_ms.map_or(Moment::NEVER, moment);
                let entry = self.gate.enter(*weight, now, leave_by, || id.clone());
                Some(self.entered(id, entry, step))
            }
            Event::Release(id) => {
                let permit = self.permits.remove(id).expect("a permit");
                self.wake(self.gate.release(permit, now))
            }
            Event::Leave(id) => {
                let ticket = self.tickets.remove(id).expect("a place");
                self.wake(self.gate.leave(ticket, now))
            }
            Event::Poll(id) => match self.gate.poll(&self.tickets[id], |_| {}) {
                Turn::Waiting => Some("waiting"),
                Turn::Admitted(permit) => {
                    self.tickets.remove(id);
                    self.permits.insert(id.clone(), permit);
                    Some("admitted")
                }
                Turn::Shed => {
                    self.tickets.remove(id);
                    Some("shed")
                }
            },
            Event::Set(config) => match self.gate.set(config.options(), now) {
                Ok(wakes) => {
                    self.wake(wakes);
                    Some("ok")
                }
                Err(_) => Some("invalid"),
            },
            Event::Look { in_use, waiting } => {
                let seen = self.gate.snapshot(now);
                assert_eq!((seen.in_use, seen.waiting), (*in_use, *waiting));
                None
            }
        }
    }

    fn entered(&mut self, id: &str, entry: Entry<String>, step: &Step) -> &'static str {
        match entry {
            Entry::Admitted(permit) => {
                self.permits.insert(id.to_owned(), permit);
                "admitted"
            }
            Entry::Queued(ticket, wakes) => {
                if let Some(millis) = step.wait_until_ms {
                    assert_eq!(ticket.wait_until(), moment(millis));
                }
                self.tickets.insert(id.to_owned(), ticket);
                self.wake(wakes);
                "queued"
            }
            Entry::Refused(Refusal::Full) => "full",
            Entry::Refused(Refusal::TooLate { expected }) => {
                let expected = u64::try_from(expected.as_millis()).ok();
                assert_eq!(expected, step.expected_wait_ms);
                "too-late"
            }
            Entry::Refused(Refusal::TooHeavy { .. }) => "too-heavy",
            Entry::Refused(other) => panic!("not an answer to somebody who enters: {other}"),
        }
    }

    fn wake(&mut self, wakes: Wakes<String>) -> Option<&'static str> {
        self.woken.extend(wakes);
        None
    }
}

fn moment(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

/// CALL-18: the gate follows the shared vectors, answer for answer and wake-up for wake-up.
#[test]
fn follows_the_vectors() {
    let text = include_str!("../../../../conformance/bulkhead.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    for case in &vectors.cases {
        let mut driver = Driver {
            gate: Gate::new(case.config.options()).unwrap(),
            permits: BTreeMap::new(),
            tickets: BTreeMap::new(),
            woken: Vec::new(),
        };
        for (number, step) in case.steps.iter().enumerate() {
            let place = format!("{}, step {}", case.name, number + 1);
            let answer = driver.act(step);
            assert_eq!(answer, step.expect.as_deref(), "{place}");
            assert_eq!(std::mem::take(&mut driver.woken), step.wakes, "{place}");
        }
    }
    assert!(vectors.cases.len() >= 20);
}
