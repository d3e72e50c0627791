//! Policies that only report what they would do.

use std::future::pending;

use backstay_call::{
    Breaker, Budget, BudgetOptions, Bulkhead, EventKind, Hedge, Pipeline, PipelineBuilder, Policy,
    Stop,
};
use tokio::time::{Instant, sleep};

use crate::common::*;

fn observing(policy: Policy, recorder: &Recorder) -> PipelineBuilder {
    Pipeline::builder("p")
        .observe_only(policy)
        .listener(recorder.clone())
}

fn observed(recorder: &Recorder, policy: Policy) -> usize {
    recorder.count(|kind| *kind == EventKind::Observed { policy })
}

/// CALL-10: an observing deadline lets the call take its time.
#[tokio::test(start_paused = true)]
async fn a_deadline_that_observes() {
    let recorder = Recorder::default();
    let pipeline = observing(Policy::Deadline, &recorder)
        .deadline(ms(100))
        .build()
        .unwrap();
    let start = Instant::now();
    let op = async |_| {
        sleep(ms(300)).await;
        Ok(1)
    };
    assert!(by_error(&pipeline).call(op).await.is_ok());
    assert_eq!(
        (start.elapsed(), observed(&recorder, Policy::Deadline)),
        (ms(300), 1)
    );
}

/// CALL-10: an observing attempt time-out lets the attempt take its time.
#[tokio::test(start_paused = true)]
async fn an_attempt_timeout_that_observes() {
    let recorder = Recorder::default();
    let pipeline = observing(Policy::AttemptTimeout, &recorder)
        .attempt_timeout(ms(100))
        .build()
        .unwrap();
    let op = async |_| {
        sleep(ms(300)).await;
        Ok(1)
    };
    assert!(by_error(&pipeline).call(op).await.is_ok());
    assert_eq!(observed(&recorder, Policy::AttemptTimeout), 1);
}

/// CALL-10: an observing bulkhead lets everybody pass, full or not, and nobody waits.
#[tokio::test(start_paused = true)]
async fn a_bulkhead_that_observes() {
    for queue in [0, 3] {
        let recorder = Recorder::default();
        let bulkhead = Bulkhead::limit(1).queue(queue);
        let pipeline = observing(Policy::Bulkhead, &recorder)
            .bulkhead(bulkhead)
            .build()
            .unwrap();
        let calls = by_error(&pipeline);
        let mut holder = Box::pin(calls.call(async |_| pending().await));
        assert!(poll_once(holder.as_mut()).is_pending());
        assert_eq!(observed(&recorder, Policy::Bulkhead), 0);
        let start = Instant::now();
        assert!(calls.call(async |_| Ok(1)).await.is_ok());
        assert_eq!(start.elapsed(), ms(0));
        assert_eq!(observed(&recorder, Policy::Bulkhead), 1);
        assert!(pipeline.enter().is_ok());
        assert_eq!(observed(&recorder, Policy::Bulkhead), 2);
        drop(holder);
        assert_idle(&pipeline);
    }
}

/// CALL-10: an observing breaker opens and lets everybody pass.
#[tokio::test(start_paused = true)]
async fn a_breaker_that_observes() {
    let recorder = Recorder::default();
    let breaker = Breaker::default().consecutive_failures(1);
    let pipeline = observing(Policy::Breaker, &recorder)
        .breaker(breaker)
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    assert!(calls.call(async |_| Err(PERMANENT)).await.is_err());
    assert!(calls.call(async |_| Ok(1)).await.is_ok());
    assert_eq!(observed(&recorder, Policy::Breaker), 1);
    pipeline
        .enter()
        .unwrap()
        .finish(backstay_call::Class::Success);
    assert_eq!(observed(&recorder, Policy::Breaker), 2);
}

/// CALL-10: observing retries make no second attempt, and spend nothing.
#[tokio::test(start_paused = true)]
async fn retries_that_observe() {
    let recorder = Recorder::default();
    let pipeline = observing(Policy::Retry, &recorder).build().unwrap();
    let error = by_error(&pipeline)
        .call(async |_| Err(NOT_SENT))
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Attempts, 1));
    assert_eq!(observed(&recorder, Policy::Retry), 1);
    assert_eq!(pipeline.state().budget.unwrap().available, 10);
}

/// CALL-10: an observing budget lets the retry go.
#[tokio::test(start_paused = true)]
async fn a_budget_that_observes() {
    let recorder = Recorder::default();
    let empty = BudgetOptions::default().ratio(0.0).reserve_per_s(0);
    let pipeline = observing(Policy::Budget, &recorder)
        .budget(empty)
        .build()
        .unwrap();
    let error = by_error(&pipeline)
        .call(async |_| Err(NOT_SENT))
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Attempts, 3));
    assert_eq!(observed(&recorder, Policy::Budget), 2);
    let answer = by_error(&pipeline)
        .call(async |_| Err(PERMANENT))
        .fallback_call(|_| async { Ok::<_, Fail>(9) })
        .await;
    assert_eq!(
        (answer.unwrap(), observed(&recorder, Policy::Budget)),
        (9, 3)
    );
}

/// CALL-10, CALL-14: a budget that several share is spent by those that act, although one only observes.
#[tokio::test(start_paused = true)]
async fn a_shared_budget_that_one_observes() {
    let recorder = Recorder::default();
    let budget = Budget::new(BudgetOptions::default().ratio(0.1).reserve_per_s(0)).unwrap();
    // With the call itself ten, which earn one retry. A reserve is given anew each second, and the pause may
    // lead into the next.
    (0..9).for_each(|_| budget.count_call());
    let pipeline = observing(Policy::Budget, &recorder)
        .shared_budget(&budget)
        .build()
        .unwrap();
    let error = by_error(&pipeline)
        .call(async |_| Err(NOT_SENT))
        .await
        .unwrap_err();
    assert_eq!(
        (error.attempts().len(), observed(&recorder, Policy::Budget)),
        (3, 1)
    );
    assert_eq!(budget.snapshot().extra_in_progress, 0);
}

/// CALL-10: an observing hedge sends nothing, and spends nothing.
#[tokio::test(start_paused = true)]
async fn a_hedge_that_observes() {
    let recorder = Recorder::default();
    let pipeline = observing(Policy::Hedge, &recorder)
        .hedge(Hedge::after(ms(20)))
        .build()
        .unwrap();
    let report = by_error(&pipeline)
        .call_idempotent(async |_| {
            sleep(ms(100)).await;
            Ok(1)
        })
        .report()
        .await;
    assert_eq!(
        (report.attempts().len(), observed(&recorder, Policy::Hedge)),
        (1, 1)
    );
    assert_idle(&pipeline);
}
