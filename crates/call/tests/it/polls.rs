//! How often a waiting call is polled.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};

use backstay_call::{Breaker, Bulkhead, Hedge, Pipeline};
use tokio::time::sleep;

use crate::common::*;

/// Polls of the call and of what the operation does.
async fn polls_of(pipeline: &Pipeline, fails: u32, time: u64) -> (usize, usize) {
    let (outer, inner) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let calls = by_error(pipeline);
    let op = |attempt: backstay_call::Attempt| {
        let work = async move {
            sleep(ms(time)).await;
            if attempt.number() <= fails {
                Err(UNKNOWN)
            } else {
                Ok(1)
            }
        };
        Counted::new(work, &inner)
    };
    let _ = Counted::new(calls.call_idempotent(op), &outer).await;
    (outer.load(SeqCst), inner.load(SeqCst))
}

/// CALL-27: a call in flight is polled at its start and its end.
#[tokio::test(start_paused = true)]
async fn in_flight() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    assert_eq!(polls_of(&pipeline, 0, 0).await, (1, 1));
    assert_eq!(polls_of(&pipeline, 0, 4000).await, (2, 2));
}

/// CALL-27: a pause adds a poll; attempts are polled at their own starts and ends.
#[tokio::test(start_paused = true)]
async fn pausing() {
    let pipeline = Pipeline::builder("p").retry(every(500, 3)).build().unwrap();
    // Start, end and wake of two failures; start and end of the last are one wake and one end.
    assert_eq!(polls_of(&pipeline, 2, 10).await, (6, 6));
}

/// CALL-27: becoming slow is one event.
#[tokio::test(start_paused = true)]
async fn becoming_slow() {
    let breaker = Breaker::default().slow_after(ms(100));
    let pipeline = Pipeline::builder("p").breaker(breaker).build().unwrap();
    // The slow moment wakes the call, which looks at the work before and after.
    assert_eq!(polls_of(&pipeline, 0, 1000).await, (3, 4));
}

/// CALL-27: a hedge is one event.
#[tokio::test(start_paused = true)]
async fn hedging() {
    let pipeline = Pipeline::builder("p")
        .hedge(Hedge::after(ms(20)))
        .budget(plenty())
        .build()
        .unwrap();
    let (outer, inner) = polls_of(&pipeline, 0, 100).await;
    // Start, hedge, end. The first is looked at four times, the hedge once.
    assert_eq!((outer, inner), (3, 5));
}

/// CALL-27: a refusal by a half-open breaker is one poll, and the operation is not touched.
#[tokio::test(start_paused = true)]
async fn refused_while_half_open() {
    let breaker = Breaker::default()
        .consecutive_failures(1)
        .probes(1)
        .open_for(ms(10));
    let pipeline = Pipeline::builder("p").breaker(breaker).build().unwrap();
    let _ = by_error(&pipeline).call(async |_| Err(UNKNOWN)).await;
    sleep(ms(10)).await;
    let calls = by_error(&pipeline);
    let mut probe = Box::pin(calls.call(async |_| pending().await));
    assert!(poll_once(probe.as_mut()).is_pending());
    assert_eq!(polls_of(&pipeline, 0, 10).await, (1, 0));
}

/// CALL-27: a queued call is polled when it comes, and when its turn has come.
#[tokio::test(start_paused = true)]
async fn queued() {
    let pipeline = Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(1).queue(3))
        .build()
        .unwrap();
    // A task of its own, whose wakes are not ours.
    let held = pipeline.clone();
    let holder = tokio::spawn(async move {
        let calls = by_error(&held);
        let op = |_| async {
            sleep(ms(500)).await;
            Ok(1)
        };
        calls.call(op).await
    });
    tokio::task::yield_now().await;
    // Three of the call: it comes, its turn comes, it ends.
    assert_eq!(polls_of(&pipeline, 0, 10).await, (3, 2));
    assert!(holder.await.unwrap().is_ok());
}

/// CALL-27: time that passes wakes nobody before something is due.
#[tokio::test(start_paused = true)]
async fn time_alone_wakes_nobody() {
    for place in ["in flight", "queued"] {
        let pipeline = Pipeline::builder("p")
            .deadline(ms(10_000))
            .bulkhead(Bulkhead::limit(1).queue(1))
            .build()
            .unwrap();
        let calls = by_error(&pipeline);
        let mut holder = Box::pin(calls.call(async |_| pending().await));
        if place == "queued" {
            assert!(poll_once(holder.as_mut()).is_pending());
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut run = pin!(calls.call(async |_| pending().await));
        assert!(
            run.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        for _ in 0..99 {
            tokio::time::advance(ms(100)).await;
        }
        assert_eq!(woken.times(), 0, "{place}");
        tokio::time::advance(ms(101)).await;
        assert_eq!(woken.times(), 1, "{place}");
        assert!(
            run.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready(),
            "{place}"
        );
        drop(holder);
    }
}

/// CALL-27: polled a thousand times for nothing, a call does nothing: no wake, no attempt, no place.
#[tokio::test(start_paused = true)]
async fn idle_polls_do_nothing() {
    let recorder = Recorder::default();
    let pipeline = Pipeline::builder("p")
        .hedge(Hedge::after(ms(50)))
        .bulkhead(Bulkhead::limit(1))
        .listener(recorder.clone())
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let mut run = pin!(calls.call_idempotent(async |_| pending().await));
    for _ in 0..1000 {
        assert!(poll_once(run.as_mut()).is_pending());
    }
    assert_eq!(recorder.events().len(), 1, "{:?}", recorder.events());
}
