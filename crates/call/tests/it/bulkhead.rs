//! The bulkhead through a pipeline.

use std::cell::RefCell;
use std::future::pending;

use backstay_call::{
    Bulkhead, CallError, EventKind, Pipeline, PipelineBuilder, Refusal, Rejected, Stop,
};
use tokio::time::{Instant, sleep};

use crate::common::*;

fn limited(bulkhead: Bulkhead) -> PipelineBuilder {
    Pipeline::builder("p").deadline(ms(1000)).bulkhead(bulkhead)
}

fn refusal(error: &CallError<Fail>) -> Refusal {
    match error.rejected() {
        Some(Rejected::Bulkhead { refusal, .. }) => *refusal,
        _ => panic!("{error}"),
    }
}

/// CALL-18: the permit is held through backoff: no other call slips in between two attempts.
#[tokio::test(start_paused = true)]
async fn the_permit_is_held_through_backoff() {
    let pipeline = limited(Bulkhead::limit(1))
        .retry(every(100, 2))
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let call = calls.call(async |_| Err(NOT_SENT));
    let other = async {
        sleep(ms(50)).await;
        assert_eq!(pipeline.state().bulkhead.unwrap().in_use, 1);
        refusal(&calls.call(async |_| Ok(1)).await.unwrap_err())
    };
    let (_, refused) = tokio::join!(call, other);
    assert_eq!(refused, Refusal::Full);
    assert_idle(&pipeline);
}

/// CALL-18: first in, first out, while nobody waits too long.
#[tokio::test(start_paused = true)]
async fn the_queue_keeps_its_order() {
    let recorder = Recorder::default();
    let pipeline = limited(Bulkhead::limit(1).queue(4))
        .listener(recorder.clone())
        .build()
        .unwrap();
    let order = RefCell::new(Vec::new());
    let go = |number: u64| {
        let (pipeline, order) = (&pipeline, &order);
        async move {
            sleep(ms(number)).await;
            let op = async |_| {
                order.borrow_mut().push(number);
                sleep(ms(50)).await;
                Ok(1)
            };
            by_error(pipeline).call(op).await
        }
    };
    let all = tokio::join!(go(0), go(1), go(2), go(3), go(4));
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok() && all.4.is_ok());
    assert_eq!(order.take(), [0, 1, 2, 3, 4]);
    assert!(recorder.heard(&EventKind::Unqueued { waited: ms(49) }));
    assert_eq!(recorder.count(|kind| *kind == EventKind::Queued), 4);
}

/// CALL-18: one too many is refused at once.
#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let pipeline = limited(Bulkhead::limit(1).queue(1)).build().unwrap();
    let calls = by_error(&pipeline);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut run = Box::pin(calls.call(async |_| pending().await));
        assert!(poll_once(run.as_mut()).is_pending());
        held.push(run);
    }
    let error = calls.call(async |_| Ok(1)).await.unwrap_err();
    assert_eq!(
        (refusal(&error), error.stop()),
        (Refusal::Full, Stop::Rejected)
    );
    drop(held);
    assert_idle(&pipeline);
}

/// CALL-18: who can't be served in the time it has is refused at once, and told how long it would be.
#[tokio::test(start_paused = true)]
async fn too_late_is_said_at_once() {
    let pipeline = limited(Bulkhead::limit(1).queue(10)).build().unwrap();
    let calls = by_error(&pipeline);
    let busy = || {
        calls.call(async |_| {
            sleep(ms(400)).await;
            Ok(1)
        })
    };
    // The gate learns how long a permit is held while somebody waits for it.
    let (a, b) = tokio::join!(busy(), busy());
    assert!(a.is_ok() && b.is_ok());
    let mut holder = Box::pin(busy());
    assert!(poll_once(holder.as_mut()).is_pending());
    let start = Instant::now();
    let error = busy().deadline(ms(500)).await.unwrap_err();
    assert_eq!(refusal(&error), Refusal::TooLate { expected: ms(400) });
    assert_eq!(
        (start.elapsed(), error.retry_after()),
        (ms(0), Some(ms(400)))
    );
}

/// CALL-18: nobody waits longer than the longest wait.
#[tokio::test(start_paused = true)]
async fn the_longest_wait_ends_it() {
    let pipeline = limited(Bulkhead::limit(1).queue(1).max_wait(ms(100)))
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let mut holder = Box::pin(calls.call(async |_| pending().await));
    assert!(poll_once(holder.as_mut()).is_pending());
    let start = Instant::now();
    let error = calls.call(async |_| Ok(1)).await.unwrap_err();
    assert_eq!(
        (refusal(&error), start.elapsed()),
        (Refusal::WaitedTooLong, ms(100))
    );
    let error = calls
        .call(async |_| Ok(1))
        .deadline(ms(30))
        .await
        .unwrap_err();
    assert_eq!(
        (refusal(&error), start.elapsed()),
        (Refusal::WaitedTooLong, ms(130))
    );
    drop(holder);
    assert_idle(&pipeline);
}

/// CALL-18: under pressure the newest goes first and the oldest is shed.
#[tokio::test(start_paused = true)]
async fn under_pressure_the_oldest_is_shed() {
    let pipeline = limited(Bulkhead::limit(1).queue(2)).build().unwrap();
    let calls = by_error(&pipeline);
    let order = RefCell::new(Vec::new());
    let holder = calls.call(async |_| {
        sleep(ms(700)).await;
        Ok(0)
    });
    let late = |number: u32, at: u64| {
        let (calls, order) = (&calls, &order);
        async move {
            sleep(ms(at)).await;
            let op = async |_| {
                order.borrow_mut().push(number);
                Ok(number)
            };
            calls.call(op).await
        }
    };
    let (held, one, two, three) = tokio::join!(holder, late(1, 10), late(2, 20), late(3, 600));
    assert!(held.is_ok());
    assert_eq!(refusal(&one.unwrap_err()), Refusal::Shed);
    assert_eq!(three.unwrap(), 3);
    assert_eq!(order.borrow()[0], 3, "newest first");
    let _ = two;
    assert_idle(&pipeline);
}

/// CALL-18: a queued call that is dropped gives its turn to the next, also when the turn had come already.
#[tokio::test(start_paused = true)]
async fn a_dropped_place_passes_its_turn_on() {
    let pipeline = limited(Bulkhead::limit(1).queue(3)).build().unwrap();
    let calls = by_error(&pipeline);
    let mut runs: Vec<_> = (0..4)
        .map(|_| Box::pin(calls.call(async |_| pending().await)))
        .collect();
    for run in &mut runs {
        assert!(poll_once(run.as_mut()).is_pending());
    }
    let mut last = runs.pop().unwrap();
    let (third, second, holder) = (runs.pop(), runs.pop(), runs.pop());
    drop(second);
    drop(holder);
    // The third has been granted the permit and never asks.
    assert_eq!(pipeline.state().bulkhead.unwrap().waiting, 1);
    drop(third);
    assert!(poll_once(last.as_mut()).is_pending());
    let bulkhead = pipeline.state().bulkhead.unwrap();
    assert_eq!((bulkhead.in_use, bulkhead.waiting), (1, 0));
    drop(last);
    assert_idle(&pipeline);
}

/// CALL-18: the guard for blocking code takes a permit too, and gives it back however it ends.
#[test]
fn a_guard_holds_a_permit() {
    let pipeline = limited(Bulkhead::limit(1).queue(5)).build().unwrap();
    let entered = pipeline.enter().unwrap();
    assert!(matches!(
        pipeline.enter(),
        Err(Rejected::Bulkhead {
            refusal: Refusal::Full,
            ..
        })
    ));
    entered.finish(backstay_call::Class::Success);
    drop(pipeline.enter().unwrap());
    pipeline.breaker().force_open();
    assert!(matches!(
        pipeline.enter(),
        Err(Rejected::BreakerOpen { .. })
    ));
    assert_idle(&pipeline);
}

/// CALL-18: a heavy call takes as many permits as it weighs, and one too heavy is told so at once.
#[tokio::test(start_paused = true)]
async fn a_heavy_call_takes_more_permits() {
    let pipeline = limited(Bulkhead::limit(3)).build().unwrap();
    let calls = by_error(&pipeline);
    let mut heavy = Box::pin(calls.call(async |_| pending().await).weight(2));
    assert!(poll_once(heavy.as_mut()).is_pending());
    assert_eq!(pipeline.state().bulkhead.unwrap().in_use, 2);
    let error = calls.call(async |_| Ok(1)).weight(2).await.unwrap_err();
    assert_eq!(refusal(&error), Refusal::Full);
    assert!(calls.call(async |_| Ok(1)).await.is_ok());
    let error = calls.call(async |_| Ok(1)).weight(4).await.unwrap_err();
    assert_eq!(refusal(&error), Refusal::TooHeavy { limit: 3 });
    drop(heavy);
    assert_idle(&pipeline);
}

/// CALL-18: whoever asks without waiting makes nobody lose a place, also when the line is full and under pressure.
#[tokio::test(start_paused = true)]
async fn who_does_not_wait_sheds_nobody() {
    let pipeline = limited(Bulkhead::limit(1).queue(1)).build().unwrap();
    let calls = by_error(&pipeline);
    let mut holder = Box::pin(calls.call(async |_| pending().await));
    assert!(poll_once(holder.as_mut()).is_pending());
    let mut waiting = Box::pin(calls.call(async |_| Ok(7)));
    assert!(poll_once(waiting.as_mut()).is_pending());
    sleep(ms(900)).await;
    assert!(pipeline.enter().is_err());
    drop(holder);
    assert_eq!(waiting.await.unwrap(), 7);
    assert_idle(&pipeline);
}
