//! Answers from elsewhere.

use backstay_call::{BudgetOptions, Hedge, Pipeline, Retry};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use tokio::time::sleep;

use crate::common::*;

/// CALL-14: a fallback call is extra load: it is paid for, and not made when the budget is empty.
#[tokio::test(start_paused = true)]
async fn a_fallback_call_draws_on_the_budget() {
    let budget = BudgetOptions::default().ratio(0.0).reserve_per_s(1);
    let pipeline = Pipeline::builder("p")
        .budget(budget)
        .retry(Retry::default().max_attempts(1))
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let go = || {
        calls.call(async |_| Err(UNKNOWN)).fallback_call(|_| async {
            assert_eq!(pipeline.state().budget.unwrap().extra_in_progress, 1);
            Ok::<_, Fail>(9)
        })
    };
    assert_eq!(go().await.unwrap(), 9);
    assert_eq!(go().await.unwrap_err().operation(), Some(&UNKNOWN));
    assert_idle(&pipeline);
}

/// CALL-14: calls earn their share of fallbacks also where nothing is retried.
#[tokio::test(start_paused = true)]
async fn calls_that_never_retry_earn_fallbacks() {
    let pipeline = Pipeline::builder("p")
        .budget(BudgetOptions::default().ratio(1.0).reserve_per_s(0))
        .retry(Retry::default().max_attempts(1))
        .build()
        .unwrap();
    let answer = by_error(&pipeline)
        .call(async |_| Err(UNKNOWN))
        .fallback_call(|_| async { Ok::<_, Fail>(9) })
        .await;
    assert_eq!(answer.unwrap(), 9);
}

fn late_bomb() -> Result<u32, Fail> {
    blow()
}

/// CALL-1: a fallback that panics gives its token back.
#[tokio::test(start_paused = true)]
async fn a_fallback_that_panics_gives_its_token_back() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let calls = by_error(&pipeline);
    let early = calls
        .call(async |_| Err(UNKNOWN))
        .fallback_call(|_| -> std::future::Ready<Result<_, Fail>> { blow() });
    assert!(AssertUnwindSafe(early).catch_unwind().await.is_err());
    assert_idle(&pipeline);
    let late = calls
        .call(async |_| Err(UNKNOWN))
        .fallback_call(|_| async { late_bomb() });
    assert!(AssertUnwindSafe(late).catch_unwind().await.is_err());
    assert_idle(&pipeline);
}

/// CALL-17: when the fallback runs, no attempt of the call is alive any more.
#[tokio::test(start_paused = true)]
async fn no_attempt_lives_on_beside_a_fallback() {
    let pipeline = Pipeline::builder("p")
        .hedge(Hedge::after(ms(10)))
        .budget(plenty())
        .build()
        .unwrap();
    let gauge = Gauge::default();
    let answer = by_error(&pipeline)
        .call_idempotent(async |attempt| {
            let _alive = gauge.enter();
            if attempt.number() == 1 {
                sleep(ms(50)).await;
            }
            sleep(ms(5)).await;
            Err::<u32, _>(PERMANENT)
        })
        .fallback_call(|_| async {
            assert_eq!(gauge.now(), 0, "the loser is still there");
            Ok::<_, Fail>(9)
        })
        .await;
    assert_eq!((answer.unwrap(), gauge.most()), (9, 2));
}

/// CALL-4: a value at hand answers only what it can stand for.
#[tokio::test(start_paused = true)]
async fn a_value_stands_in_where_it_can() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let calls = by_error(&pipeline);
    for (fail, answer) in [(UNKNOWN, Some(5)), (IGNORED, None)] {
        let result = calls
            .call(async |_| Err(fail))
            .fallback_value(|error| (error.operation() == Some(&UNKNOWN)).then_some(5))
            .await;
        assert_eq!(result.ok(), answer);
    }
}
