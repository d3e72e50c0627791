//! The circuit under every interleaving of two or three threads.

use std::time::Duration;

use backstay_core::breaker::{Breaker, Circuit, Phase};
use backstay_core::{Fault, Moment, Outcome};
use loom::sync::Arc;
use loom::thread;

const FAILED: Outcome = Outcome::Failure(Fault::Error);

fn at(ms: u64) -> Moment {
    Moment::from_nanos(ms * 1_000_000)
}

/// A small ring keeps the number of interleavings small.
fn circuit(options: Breaker) -> Arc<Circuit> {
    Arc::new(Circuit::new(options, at(0)).unwrap())
}

fn call(circuit: &Circuit, outcome: Outcome, now: Moment) -> bool {
    match circuit.admit(now, |_| ()) {
        Ok(admission) => {
            circuit.end(admission, outcome, now, |_| ());
            true
        }
        Err(_) => false,
    }
}

/// CALL-5, CALL-11: two failures that together reach the threshold open, whichever comes last.
#[test]
fn no_trip_is_lost_between_two_failures() {
    crate::model(|| {
        let options = Breaker::failure_rate(1.0)
            .minimum_calls(2)
            .window_of_calls(2)
            .consecutive_failures(u32::MAX);
        let circuit = circuit(options);
        let other = {
            let circuit = circuit.clone();
            thread::spawn(move || call(&circuit, FAILED, at(1)))
        };
        call(&circuit, FAILED, at(1));
        other.join().unwrap();
        assert_eq!(circuit.snapshot(at(1)).phase, Phase::Open);
    });
}

/// CALL-5: a success that completes the minimum beside a failure opens.
#[test]
fn no_trip_is_lost_between_a_failure_and_a_success() {
    crate::model(|| {
        let options = Breaker::failure_rate(0.5)
            .minimum_calls(2)
            .window_of_calls(2)
            .consecutive_failures(u32::MAX);
        let circuit = circuit(options);
        let other = {
            let circuit = circuit.clone();
            thread::spawn(move || call(&circuit, Outcome::Success, at(1)))
        };
        call(&circuit, FAILED, at(1));
        other.join().unwrap();
        assert_eq!(circuit.snapshot(at(1)).phase, Phase::Open);
    });
}

/// CALL-7: a result of the epoch before never changes the one after, wherever it is interrupted.
#[test]
fn a_late_result_changes_nothing() {
    crate::model(|| {
        let options = Breaker::failure_rate(0.5)
            .minimum_calls(1)
            .window_of_calls(2)
            .consecutive_failures(2)
            .probes(1)
            .open_for(Duration::from_millis(1));
        let circuit = circuit(options);
        let late = circuit.admit(at(0), |_| ()).unwrap();
        let other = {
            let circuit = circuit.clone();
            thread::spawn(move || circuit.end(late, FAILED, at(0), |_| ()))
        };
        call(&circuit, FAILED, at(0));
        assert_eq!(circuit.snapshot(at(0)).phase, Phase::Open);
        assert!(call(&circuit, Outcome::Success, at(1)));
        other.join().unwrap();
        let snapshot = circuit.snapshot(at(1));
        assert_eq!((snapshot.phase, snapshot.calls), (Phase::Closed, 0));
    });
}

/// CALL-8: of three that ask an open circuit at once, as many pass as there are probes.
#[test]
fn half_open_admits_exactly_its_probes() {
    crate::model(|| {
        let options = Breaker::failure_rate(1.0)
            .minimum_calls(1)
            .window_of_calls(1)
            .consecutive_failures(1)
            .probes(1)
            .open_for(Duration::from_millis(1));
        let circuit = circuit(options);
        call(&circuit, FAILED, at(0));
        let asks: Vec<_> = (0..2)
            .map(|_| {
                let circuit = circuit.clone();
                thread::spawn(move || circuit.admit(at(1), |_| ()).ok())
            })
            .collect();
        let mut probes = vec![circuit.admit(at(1), |_| ()).ok()];
        probes.extend(asks.into_iter().map(|ask| ask.join().unwrap()));
        let mut probes: Vec<_> = probes.into_iter().flatten().collect();
        assert_eq!(probes.len(), 1);
        let probe = probes.remove(0);
        assert!(probe.is_probe());
        circuit.end(probe, Outcome::Success, at(1), |_| ());
        assert_eq!(circuit.snapshot(at(1)).phase, Phase::Closed);
    });
}
