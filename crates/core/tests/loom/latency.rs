use std::time::Duration;

use backstay_core::{Latency, Moment};
use loom::sync::Arc;
use loom::thread;

use crate::model;

const START: Moment = Moment::from_nanos(0);
const FAST: Duration = Duration::from_nanos(1);

/// CALL-16: samples of two threads are both counted.
#[test]
fn two_threads_record() {
    model(|| {
        let latency = Arc::new(Latency::new());
        latency.record(FAST, START);
        let other = {
            let latency = Arc::clone(&latency);
            thread::spawn(move || latency.record(FAST, START))
        };
        latency.record(FAST, START);
        other.join().expect("records");
        assert!(latency.quantile(0.5, 3, START).is_some());
        assert_eq!(latency.quantile(0.5, 4, START), None);
    });
}

/// CALL-16: when a half's turn comes, its old samples never count again, whoever empties it.
#[test]
fn two_threads_empty_a_half() {
    model(|| {
        let latency = Arc::new(Latency::new());
        for _ in 0..4 {
            latency.record(FAST, START);
        }
        let later = START.plus(Duration::from_secs(60));
        let other = {
            let latency = Arc::clone(&latency);
            thread::spawn(move || latency.record(FAST, later))
        };
        latency.record(FAST, later);
        other.join().expect("records");
        assert_eq!(latency.quantile(0.5, 3, later), None);
        assert!(latency.quantile(0.5, 1, later).is_some());
    });
}
