//! A change of the breaker's phase for every cause: only a breaker can make them.

use std::time::Duration;

use backstay_call::event::Transition;
use backstay_call::{Breaker, Control, Fault, Outcome};
use backstay_core::Moment;
use backstay_core::breaker::Circuit;

const FAILED: Outcome = Outcome::Failure(Fault::Error);
const OVERLOADED: Outcome = Outcome::Failure(Fault::Overloaded);

pub(crate) fn transitions() -> Vec<Transition> {
    let rate = || Breaker::failure_rate(0.5).minimum_calls(4);
    let slow = rate().slow_after(Duration::from_millis(10));
    let mut all = Vec::new();
    // A row of failures opens it, the open time passes, and the probes decide: once each way.
    for probes in [FAILED, Outcome::Success] {
        let mut breaker = Driven::new(rate().consecutive_failures(3));
        breaker.end_each(3, FAILED);
        breaker.wait(Duration::from_secs(5));
        breaker.end_each(3, probes);
        all.append(&mut breaker.changes);
    }
    let mut breaker = Driven::new(rate());
    for outcome in [Outcome::Success, FAILED, Outcome::Success, FAILED] {
        breaker.end_each(1, outcome);
    }
    all.append(&mut breaker.changes);
    let mut breaker = Driven::new(rate());
    breaker.end_each(4, OVERLOADED);
    all.append(&mut breaker.changes);
    let mut breaker = Driven::new(slow);
    breaker.slow_each(4);
    all.append(&mut breaker.changes);
    let mut breaker = Driven::new(rate());
    breaker.control(Control::ForcedOpen);
    breaker.control(Control::Automatic);
    all.append(&mut breaker.changes);
    all
}

/// A circuit, its time, and what it told.
struct Driven {
    circuit: Circuit,
    now: Moment,
    changes: Vec<Transition>,
}

impl Driven {
    fn new(options: Breaker) -> Self {
        let now = Moment::from_nanos(1_000_000_000);
        Self {
            circuit: Circuit::new(options, now).expect("the options are right"),
            now,
            changes: Vec::new(),
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// Calls one after another; those that are refused have no end.
    fn end_each(&mut self, calls: u32, outcome: Outcome) {
        for _ in 0..calls {
            let tell = |change| self.changes.push(change);
            if let Ok(admission) = self.circuit.admit(self.now, tell) {
                let tell = |change| self.changes.push(change);
                self.circuit.end(admission, outcome, self.now, tell);
            }
        }
    }

    /// Calls that become slow and do not end.
    fn slow_each(&mut self, calls: u32) {
        for _ in 0..calls {
            let tell = |change| self.changes.push(change);
            if let Ok(mut admission) = self.circuit.admit(self.now, tell) {
                self.wait(Duration::from_millis(10));
                let tell = |change| self.changes.push(change);
                self.circuit.on_slow(&mut admission, self.now, tell);
            }
        }
    }

    fn control(&mut self, control: Control) {
        let tell = |change| self.changes.push(change);
        self.circuit.control(control, self.now, tell);
    }
}
