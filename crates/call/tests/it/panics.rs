//! What user code that panics leaves behind: nothing, but a failure that is counted.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use backstay_call::{
    Bulkhead, Class, Event, EventKind, Fault, Hedge, Outcome, Pipeline, PipelineBuilder,
};
use futures_util::FutureExt;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::common::*;

fn pipeline(recorder: &Recorder) -> PipelineBuilder {
    Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(1))
        .retry(every(10, 3))
        .budget(plenty())
        .listener(recorder.clone())
}

async fn caught<F: Future>(future: F) -> Box<dyn Any + Send> {
    match AssertUnwindSafe(future).catch_unwind().await {
        Ok(_) => panic!("did not panic"),
        Err(payload) => payload,
    }
}

/// The panic went on to the caller, and `failures` attempts were booked as failures.
fn check(pipeline: &Pipeline, recorder: &Recorder, payload: &dyn Any, failures: usize) {
    assert_eq!(payload.downcast_ref(), Some(&"boom"));
    assert_idle(pipeline);
    let failed = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::AttemptEnded {
                outcome: Outcome::Failure(Fault::Error),
                ..
            }
        )
    };
    assert_eq!(recorder.count(failed), failures, "{:?}", recorder.events());
    assert_eq!(pipeline.breaker().state().failed, failures as u64);
    let (started, ended) = (
        recorder.count(|kind| matches!(kind, EventKind::AttemptStarted { .. })),
        recorder.count(|kind| matches!(kind, EventKind::AttemptEnded { .. })),
    );
    assert_eq!(started, ended);
    assert_eq!(
        recorder.count(|kind| matches!(kind, EventKind::CallDropped { .. })),
        1
    );
}

type Work = Pin<Box<dyn Future<Output = Result<u32, Fail>>>>;

/// Panics when it is dropped, having answered or not.
struct DropBomb(Option<Result<u32, Fail>>);

impl Future for DropBomb {
    type Output = Result<u32, Fail>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for DropBomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            blow();
        }
    }
}

/// CALL-1: a panic in the closure, in the first poll, in a later poll, or in the drop of the work, in the first
/// attempt or in a repeat, is a failure and goes on.
#[tokio::test(start_paused = true)]
async fn panics_of_the_operation_are_failures() {
    let in_closure = || -> Work { blow() };
    let in_first_poll = || -> Work { Box::pin(async { blow() }) };
    let in_later_poll = || -> Work {
        Box::pin(async {
            yield_now().await;
            sleep(ms(5)).await;
            blow()
        })
    };
    let in_drop = || -> Work { Box::pin(DropBomb(Some(Ok(1)))) };
    let places: [(&str, &dyn Fn() -> Work); 4] = [
        ("closure", &in_closure),
        ("first poll", &in_first_poll),
        ("later poll", &in_later_poll),
        ("drop", &in_drop),
    ];
    for (place, bomb) in places {
        for attempt_that_panics in [1, 2, 3] {
            let recorder = Recorder::default();
            let pipeline = pipeline(&recorder).build().unwrap();
            let calls = by_error(&pipeline);
            let call = calls.call_idempotent(|attempt| -> Work {
                if attempt.number() == attempt_that_panics {
                    bomb()
                } else {
                    Box::pin(async { Err(UNKNOWN) })
                }
            });
            let payload = caught(call).await;
            println!("{place}, attempt {attempt_that_panics}");
            check(
                &pipeline,
                &recorder,
                &*payload,
                attempt_that_panics as usize,
            );
        }
    }
}

/// CALL-1: a panic in the classifier is a failure of the attempt and goes on.
#[tokio::test(start_paused = true)]
async fn panics_of_the_classifier_are_failures() {
    let recorder = Recorder::default();
    let pipeline = pipeline(&recorder).build().unwrap();
    let calls = pipeline.classified(|_: &Result<u32, Fail>| -> Class { blow() });
    let payload = caught(calls.call(async |_| Ok(1))).await;
    check(&pipeline, &recorder, &*payload, 1);
}

/// CALL-1: when one of two attempts panics, the other is dropped and says nothing.
#[tokio::test(start_paused = true)]
async fn a_panic_beside_another_attempt() {
    for in_closure in [true, false] {
        for bad in [1, 2] {
            let recorder = Recorder::default();
            let pipeline = pipeline(&recorder)
                .hedge(Hedge::after(ms(20)))
                .build()
                .unwrap();
            let calls = by_error(&pipeline);
            if in_closure && bad == 1 {
                continue;
            }
            let call = calls.call_idempotent(|attempt| {
                if in_closure && attempt.number() == bad {
                    blow()
                }
                async move {
                    sleep(ms(100)).await;
                    if attempt.number() == bad {
                        blow()
                    }
                    std::future::pending().await
                }
            });
            let payload = caught(call).await;
            check(&pipeline, &recorder, &*payload, 1);
        }
    }
}

/// CALL-1, CALL-17: a loser that panics when it is dropped takes nothing with it.
#[tokio::test(start_paused = true)]
async fn a_loser_that_panics_when_dropped() {
    let recorder = Recorder::default();
    let pipeline = pipeline(&recorder)
        .hedge(Hedge::after(ms(20)))
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let call = calls.call_idempotent(|attempt| -> Work {
        if attempt.number() == 1 {
            Box::pin(DropBomb(None))
        } else {
            Box::pin(async { Ok(2) })
        }
    });
    let payload = caught(call).await;
    assert_eq!(payload.downcast_ref(), Some(&"boom"));
    assert_idle(&pipeline);
    let breaker = pipeline.breaker().state();
    assert_eq!((breaker.calls, breaker.failed), (1, 0));
}

/// CALL-1: work that panics when a caller drops the call, or when its time is up, takes nothing with it.
#[tokio::test(start_paused = true)]
async fn dropped_work_that_panics_takes_nothing_with_it() {
    let recorder = Recorder::default();
    let pipeline = pipeline(&recorder).deadline(ms(100)).build().unwrap();
    let calls = by_error(&pipeline);
    let mut run = Box::pin(calls.call(|_| DropBomb(None)));
    assert!(poll_once(run.as_mut()).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(run))).is_err());
    assert_idle(&pipeline);
    assert_eq!(pipeline.breaker().state().failed, 0);

    let payload = caught(calls.call(|_| DropBomb(None))).await;
    assert_eq!(payload.downcast_ref(), Some(&"boom"));
    assert_idle(&pipeline);
    assert_eq!(pipeline.breaker().state().failed, 1);
}

/// CALL-1: a listener that panics at every event changes nothing, and others are told all the same.
#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_changes_nothing() {
    let recorder = Recorder::default();
    let pipeline = Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(1))
        .retry(every(10, 3))
        .listener(|_: &Event<'_>| blow())
        .listener(recorder.clone())
        .build()
        .unwrap();
    let answer = by_error(&pipeline)
        .call_idempotent(async |attempt| {
            if attempt.number() < 3 {
                Err(UNKNOWN)
            } else {
                Ok(3)
            }
        })
        .await;
    assert_eq!(answer.unwrap(), 3);
    assert_idle(&pipeline);
    let ended = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::CallEnded {
                succeeded: true,
                ..
            }
        )
    };
    assert_eq!(recorder.count(ended), 1);
}

/// CALL-1: a call that is polled again after a panic neither goes on nor loses what it held.
#[tokio::test(start_paused = true)]
async fn a_call_does_not_go_on_after_a_panic() {
    for in_classifier in [false, true] {
        let recorder = Recorder::default();
        let pipeline = pipeline(&recorder).build().unwrap();
        let calls = pipeline.classified(move |_: &Result<u32, Fail>| -> Class {
            if in_classifier {
                blow()
            } else {
                Class::Transient(backstay_call::Effect::Unknown)
            }
        });
        let mut run = Box::pin(calls.call_idempotent(|_| {
            if !in_classifier {
                blow()
            }
            async { Ok(1) }
        }));
        let mut poll = || catch_unwind(AssertUnwindSafe(|| poll_once(run.as_mut())));
        let payload = poll().unwrap_err();
        assert!(poll().is_err(), "a second poll must panic");
        drop(run);
        check(&pipeline, &recorder, &*payload, 1);
    }
}

/// CALL-1: a guard whose thread panics counts a failure and gives its permit back.
#[test]
fn a_guard_whose_thread_panics_is_a_failure() {
    let pipeline = Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(1))
        .build()
        .unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _entered = pipeline.enter().unwrap();
        blow()
    }));
    assert!(result.is_err());
    assert_idle(&pipeline);
    assert_eq!(pipeline.breaker().state().failed, 1);
}
