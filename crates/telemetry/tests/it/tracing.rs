use std::io;
use std::time::Duration;

use backstay_call::{Event, EventKind, Listener, Pipeline};
use backstay_telemetry::TracingListener;

use crate::hear::events;
use crate::samples::samples;
use crate::story;

/// TEL-2: the log of a pipeline, word for word.
#[test]
fn a_story_is_told_with_levels_and_fields() {
    let told: Vec<String> = events(|| story::tell(TracingListener::new()))
        .iter()
        .map(|heard| format!("{} {}{}", heard.level, heard.name, heard.fields))
        .collect();
    assert_eq!(
        told,
        [
            "TRACE backstay.attempt.started pipeline=payments number=1 hedge=false",
            "TRACE backstay.attempt.ended pipeline=payments number=1 hedge=false outcome=ok effect=executed took_us=250000",
            "TRACE backstay.call.ended pipeline=payments succeeded=true stop=succeeded attempts=1 took_us=250000",
            "TRACE backstay.attempt.started pipeline=payments number=1 hedge=false",
            "TRACE backstay.attempt.ended pipeline=payments number=1 hedge=false outcome=error effect=unknown took_us=0",
            "DEBUG backstay.retry.scheduled pipeline=payments number=2 wait_us=50000",
            "TRACE backstay.attempt.started pipeline=payments number=2 hedge=false",
            "TRACE backstay.attempt.ended pipeline=payments number=2 hedge=false outcome=ok effect=executed took_us=0",
            "TRACE backstay.call.ended pipeline=payments succeeded=true stop=succeeded attempts=2 took_us=50000",
            "TRACE backstay.attempt.started pipeline=payments number=1 hedge=false",
            "TRACE backstay.attempt.ended pipeline=payments number=1 hedge=false outcome=error effect=unknown took_us=0",
            "DEBUG backstay.call.ended pipeline=payments succeeded=false stop=effect attempts=1 took_us=0",
            "TRACE backstay.attempt.started pipeline=payments number=1 hedge=false",
            "TRACE backstay.attempt.ended pipeline=payments number=1 hedge=false outcome=error effect=unknown took_us=0",
            "DEBUG backstay.call.ended pipeline=payments succeeded=false stop=effect attempts=1 took_us=0",
            "TRACE backstay.attempt.started pipeline=payments number=1 hedge=false",
            "WARN backstay.breaker.changed pipeline=payments from=closed to=open cause=consecutive_failures count=3",
            "TRACE backstay.attempt.ended pipeline=payments number=1 hedge=false outcome=error effect=unknown took_us=0",
            "DEBUG backstay.call.ended pipeline=payments succeeded=false stop=effect attempts=1 took_us=0",
            "DEBUG backstay.call.rejected pipeline=payments by=breaker",
            "DEBUG backstay.call.ended pipeline=payments succeeded=false stop=rejected attempts=0 took_us=0",
            "INFO backstay.breaker.changed pipeline=payments from=open to=half_open cause=open_time_over",
            "TRACE backstay.attempt.started pipeline=payments number=1 hedge=false",
            "TRACE backstay.attempt.ended pipeline=payments number=1 hedge=false outcome=ok effect=executed took_us=250000",
            "TRACE backstay.call.ended pipeline=payments succeeded=true stop=succeeded attempts=1 took_us=250000",
            "TRACE backstay.attempt.started pipeline=payments number=1 hedge=false",
            "INFO backstay.breaker.changed pipeline=payments from=half_open to=closed cause=probes_succeeded",
            "TRACE backstay.attempt.ended pipeline=payments number=1 hedge=false outcome=ok effect=executed took_us=250000",
            "TRACE backstay.call.ended pipeline=payments succeeded=true stop=succeeded attempts=1 took_us=250000",
        ]
    );
}

/// TEL-2: each kind of event is told once, by its own name, under one target.
#[test]
fn every_kind_of_event_is_told() {
    for kind in samples() {
        let heard = events(|| TracingListener::new().on_event(&Event::new("payments", kind)));
        assert_eq!(heard.len(), 1, "{kind:?}");
        assert_eq!(heard[0].target, "backstay");
        assert_ne!(heard[0].name, "backstay.other", "{kind:?}");
        assert!(heard[0].fields.contains("=payments"), "{kind:?}");
    }
}

/// TEL-2: an event belongs to the trace of the work around the call.
#[test]
fn an_event_stands_in_the_span_around() {
    let heard = events(|| {
        let request = tracing::info_span!("request");
        request.in_scope(|| story::tell(TracingListener::new()));
    });
    assert!(heard.len() > 20);
    assert!(heard.iter().all(|heard| heard.span == Some("request")));
}

/// TEL-2: neither a key nor the text of an error is told, not even of a key that is refused.
#[test]
fn nothing_that_a_caller_sends_is_told() {
    let payments = Pipeline::builder("payments").listener(TracingListener::new());
    let payments = payments.build().expect("the defaults are right");
    let calls = async {
        for key in ["secret", "secret\n"] {
            let op = async |_| Err::<(), _>(io::Error::other("secret"));
            let error = payments.call_keyed(key, op).await;
            assert!(error.is_err_and(|error| format!("{error:?}").contains("secret")));
        }
    };
    let heard = events(|| story::on_paused_time(calls));
    assert!(heard.len() > 4);
    assert!(heard.iter().all(|heard| !heard.fields.contains("secret")));
}

/// TEL-2: times are whole microseconds.
#[test]
fn times_are_whole_microseconds() {
    let waited = Duration::from_nanos(5_067_899);
    let kind = EventKind::Unqueued { waited };
    let heard = events(|| TracingListener::new().on_event(&Event::new("payments", kind)));
    assert_eq!(heard[0].fields, " pipeline=payments waited_us=5067");
}
