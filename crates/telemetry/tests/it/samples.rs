//! At least one event of each kind.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay_call::event::{HandlerEnd, Shed, Transition};
use backstay_call::{
    Abandoned, Control, Effect, Event, EventKind, Fault, Outcome, Pipeline, Policy, Stop,
};

const TIME: Duration = Duration::from_millis(250);

pub(crate) fn samples() -> Vec<EventKind> {
    let mut all = vec![
        EventKind::Queued,
        EventKind::Unqueued { waited: TIME },
        EventKind::RetryScheduled {
            number: 2,
            wait: TIME,
        },
        EventKind::HedgeSuppressed { by: Policy::Budget },
        EventKind::Rejected {
            by: Policy::Bulkhead,
        },
        EventKind::Observed {
            policy: Policy::Deadline,
        },
        EventKind::CallDropped {
            attempts: 1,
            took: TIME,
        },
        EventKind::BreakerControl(Control::ForcedOpen),
        EventKind::Reconfigured,
        EventKind::Admitted { waited: TIME },
    ];
    for hedge in [false, true] {
        all.push(EventKind::AttemptStarted { number: 1, hedge });
    }
    for (succeeded, stop) in [(true, Stop::Succeeded), (false, Stop::Budget)] {
        all.push(EventKind::CallEnded {
            stop,
            succeeded,
            attempts: 1,
            took: TIME,
        });
    }
    for outcome in [
        Outcome::Success,
        Outcome::Failure(Fault::Error),
        Outcome::Failure(Fault::Overloaded),
        Outcome::Ignored,
        Outcome::Abandoned(Abandoned::CallerGone),
        Outcome::Abandoned(Abandoned::DeadlinePassed),
        Outcome::Abandoned(Abandoned::LostRace),
        Outcome::Abandoned(Abandoned::ShuttingDown),
    ] {
        all.push(EventKind::AttemptEnded {
            number: 1,
            hedge: false,
            outcome,
            effect: Effect::Unknown,
            took: TIME,
        });
    }
    for reason in [
        Shed::Full,
        Shed::TooLate,
        Shed::Overtaken,
        Shed::Expired,
        Shed::CallerGone,
    ] {
        all.push(EventKind::Shed { reason });
    }
    for end in [
        HandlerEnd::Answered,
        HandlerEnd::TimedOut,
        HandlerEnd::CallerGone,
    ] {
        all.push(EventKind::Handled { end, took: TIME });
    }
    all.extend(transitions().into_iter().map(EventKind::Breaker));
    all
}

/// To open, to half-open, to closed: only a breaker can make them.
fn transitions() -> Vec<Transition> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&all);
    let pipeline = Pipeline::builder("payments")
        .listener(move |event: &Event<'_>| {
            if let EventKind::Breaker(transition) = event.kind {
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                into.push(transition);
            }
        })
        .build()
        .expect("the defaults are right");
    pipeline.breaker().force_open();
    pipeline.breaker().automatic();
    pipeline.breaker().force_close();
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(all.len(), 3);
    mem::take(&mut all)
}

/// The variants' names as they stand in the source: the enum may grow, and nothing else tells us that it did.
fn kinds() -> Vec<&'static str> {
    let source = include_str!("../../../call/src/event.rs");
    let (_, rest) = source
        .split_once("pub enum EventKind {\n")
        .expect("the enum");
    let (body, _) = rest.split_once("\n}\n").expect("its end");
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(name)
        .collect()
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

/// TEL-2, TEL-3: no kind of event is missing from the samples that the other tests go by.
#[test]
fn there_is_a_sample_of_every_kind() {
    let samples: Vec<String> = samples().iter().map(|kind| format!("{kind:?}")).collect();
    let kinds = kinds();
    assert!(kinds.len() >= 16, "{kinds:?}");
    for kind in kinds {
        assert!(
            samples.iter().any(|sample| name(sample) == kind),
            "no sample of {kind}"
        );
    }
}
