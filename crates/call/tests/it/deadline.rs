//! The time of a call, and of the calls inside it.

use std::cell::Cell;
use std::future::pending;
use std::time::Duration;

use backstay_call::{Breaker, Bulkhead, Pipeline, Policy, Reason, Rejected, Stop, deadline};
use tokio::time::{Instant, sleep};

use crate::common::*;

fn with_time(time: u64) -> Pipeline {
    Pipeline::builder("p").deadline(ms(time)).build().unwrap()
}

async fn seen_by(pipeline: &Pipeline) -> Duration {
    let seen = Cell::new(ms(0));
    let op = async |attempt: backstay_call::Attempt| {
        assert_eq!(attempt.remaining(), deadline::remaining());
        seen.set(attempt.remaining().unwrap());
        Ok(1)
    };
    by_error(pipeline).call(op).await.unwrap();
    seen.get()
}

/// CALL-22: a pipeline inside another takes the shorter time, whichever it is.
#[tokio::test(start_paused = true)]
async fn the_inner_call_takes_the_shorter_time() {
    for (outer, inner, left) in [(300, 1000, 200), (1000, 300, 300)] {
        let (outer, inner) = (with_time(outer), with_time(inner));
        let op = async |_| {
            sleep(ms(100)).await;
            assert_eq!(seen_by(&inner).await, ms(left));
            Ok(1)
        };
        assert!(by_error(&outer).call(op).await.is_ok());
    }
}

/// CALL-22: `within` tells the pipelines inside, counts from its first poll, and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn within_gives_a_shorter_time() {
    let pipeline = with_time(1000);
    let work = deadline::within(ms(250), async {
        sleep(ms(50)).await;
        seen_by(&pipeline).await
    });
    sleep(ms(500)).await;
    assert_eq!(work.await, ms(200));
    assert_eq!(deadline::remaining(), None);
    let nested = deadline::within(
        ms(100),
        deadline::within(ms(900), async { seen_by(&pipeline).await }),
    );
    assert_eq!(nested.await, ms(100));
    assert_eq!(seen_by(&pipeline).await, ms(1000));
}

/// CALL-22: work whose time has passed before it begins is refused and not sent.
#[tokio::test(start_paused = true)]
async fn passed_time_sends_nothing() {
    let pipeline = with_time(1000);
    let sent = Cell::new(false);
    let error = deadline::within(ms(10), async {
        sleep(ms(10)).await;
        let op = async |_| {
            sent.set(true);
            Ok(1)
        };
        by_error(&pipeline).call(op).await.unwrap_err()
    })
    .await;
    assert_eq!(error.rejected(), Some(&Rejected::DeadlinePassed));
    assert!(!sent.get());
}

/// CALL-18, CALL-22: waiting in the queue is charged to the call.
#[tokio::test(start_paused = true)]
async fn the_queue_costs_time() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .bulkhead(Bulkhead::limit(1).queue(1))
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let first = calls.call(async |_| {
        sleep(ms(300)).await;
        Ok(1)
    });
    let second = async {
        sleep(ms(100)).await;
        let start = Instant::now();
        let report = calls
            .call(async |attempt| {
                assert_eq!(attempt.remaining(), Some(ms(800)));
                pending().await
            })
            .report()
            .await;
        (report, start.elapsed())
    };
    let (first, (report, elapsed)) = tokio::join!(first, second);
    assert!(first.is_ok());
    assert_eq!(elapsed, ms(1000));
    assert_eq!(report.attempts().iter().next().unwrap().waited, ms(200));
}

/// CALL-13: an attempt gets half of the time left while another may follow, not cut below 1 s, else all of it.
#[tokio::test(start_paused = true)]
async fn attempts_share_the_time_that_is_left() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(6000))
        .retry(every(100, 4))
        .build()
        .unwrap();
    let times = std::cell::RefCell::new(Vec::new());
    let op = async |attempt: backstay_call::Attempt| {
        times.borrow_mut().push(attempt.remaining().unwrap());
        pending::<Result<u32, Fail>>().await
    };
    let start = Instant::now();
    let error = by_error(&pipeline).call_idempotent(op).await.unwrap_err();
    assert_eq!(times.take(), [ms(3000), ms(1450), ms(1000), ms(250)]);
    assert_eq!((start.elapsed(), error.stop()), (ms(6000), Stop::Deadline));
    // A plain call is not repeated after it was sent, so it gets all of its time.
    let _ = by_error(&pipeline).call(op).await;
    assert_eq!(times.take(), [ms(6000)]);
}

/// CALL-13: an explicit time of an attempt is kept, and never goes past the deadline.
#[tokio::test(start_paused = true)]
async fn an_attempt_has_its_own_time() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .attempt_timeout(ms(600))
        .retry(every(100, 3))
        .build()
        .unwrap();
    let times = std::cell::RefCell::new(Vec::new());
    let op = async |attempt: backstay_call::Attempt| {
        times.borrow_mut().push(attempt.remaining().unwrap());
        pending::<Result<u32, Fail>>().await
    };
    let error = by_error(&pipeline).call_idempotent(op).await.unwrap_err();
    assert_eq!(times.take(), [ms(600), ms(300)]);
    assert!(matches!(error.reason(), Reason::TimedOut));
}

/// CALL-13: nothing limits an attempt where no policy and no caller sets a time.
#[tokio::test(start_paused = true)]
async fn no_limit_is_no_limit() {
    let pipeline = Pipeline::empty("p").build().unwrap();
    let op = async |attempt: backstay_call::Attempt| {
        assert_eq!(attempt.remaining(), None);
        Ok(1)
    };
    assert!(by_error(&pipeline).call(op).await.is_ok());
    let own = by_error(&pipeline);
    let own = own.call(async |_| pending().await).deadline(ms(50));
    let start = Instant::now();
    assert!(own.await.is_err());
    assert_eq!(start.elapsed(), ms(50));
}

/// CALL-9: a call that an outer pipeline drops at its deadline is a failure of the dependency below.
#[tokio::test(start_paused = true)]
async fn dropped_at_an_outer_deadline_is_a_failure() {
    let outer = Pipeline::builder("outer")
        .deadline(ms(100))
        .build()
        .unwrap();
    let inner = Pipeline::builder("inner")
        .without(Policy::Retry)
        .build()
        .unwrap();
    let ended = Cell::new(0);
    for _ in 0..3 {
        let op = async |_| {
            let calls = by_error(&inner);
            let mut hung = Box::pin(calls.call(async |_| pending().await));
            // Polled once and then forgotten, so that it can't notice by itself that its time is up.
            assert!(poll_once(hung.as_mut()).is_pending());
            pending::<()>().await;
            ended.set(ended.get() + 1);
            hung.await.map_err(|_| UNKNOWN)
        };
        let _ = by_error(&outer).call(op).await;
    }
    assert_eq!((ended.get(), inner.breaker().state().failed), (0, 3));
}

/// CALL-9: dropped by a caller whose time has passed is a failure, dropped before says nothing.
#[tokio::test(start_paused = true)]
async fn dropping_is_judged_by_the_time() {
    let pipeline = with_time(100);
    let calls = by_error(&pipeline);
    for (after, failed) in [(99, 0), (100, 1)] {
        let mut run = Box::pin(calls.call(async |_| pending().await));
        assert!(poll_once(run.as_mut()).is_pending());
        tokio::time::advance(ms(after)).await;
        drop(run);
        assert_eq!(
            pipeline.breaker().state().failed,
            failed,
            "after {after} ms"
        );
    }
}

/// CALL-9: a hung dependency under an outer time-out opens the breaker, which sees it as slow.
#[tokio::test(start_paused = true)]
async fn a_hung_dependency_is_seen_although_its_callers_leave() {
    let breaker = Breaker::default().slow_after(ms(50)).minimum_calls(5);
    let pipeline = Pipeline::builder("p").breaker(breaker).build().unwrap();
    for _ in 0..5 {
        let calls = by_error(&pipeline);
        let hung = calls.call(async |_| pending().await);
        assert!(tokio::time::timeout(ms(60), hung).await.is_err());
    }
    assert_eq!(pipeline.breaker().state().phase, backstay_call::Phase::Open);
}
