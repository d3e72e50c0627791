//! What our own refusals cost: nothing.

use std::future::pending;

use backstay_call::{
    Breaker, BudgetOptions, Bulkhead, Class, Effect, EventKind, Nested, Phase, Pipeline, Policy,
    Reason, Refusal, Rejected, Stop,
};
use tokio::time::sleep;

use crate::common::*;

/// CALL-3: an open breaker, a full bulkhead, a passed deadline and a bad key are typed, had no effect, are no
/// failures of the dependency, and neither spend nor earn budget.
#[tokio::test(start_paused = true)]
async fn our_refusals_count_for_nothing() {
    let pipeline = Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(1))
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let mut holder = Box::pin(calls.call(async |_| pending().await));
    assert!(poll_once(holder.as_mut()).is_pending());
    let before = pipeline.state();

    let mut errors = vec![
        calls.call(async |_| Ok(1)).await.unwrap_err(),
        calls.call_keyed("", async |_| Ok(1)).await.unwrap_err(),
    ];
    drop(holder);
    errors.push(
        calls
            .call(async |_| Ok(1))
            .deadline(ms(0))
            .await
            .unwrap_err(),
    );
    pipeline.breaker().force_open();
    errors.push(calls.call(async |_| Ok(1)).await.unwrap_err());

    let kinds: Vec<_> = errors
        .iter()
        .map(|error| match error.rejected().unwrap() {
            Rejected::Bulkhead { refusal, .. } => {
                assert_eq!(*refusal, Refusal::Full);
                "bulkhead"
            }
            Rejected::Key(_) => "key",
            Rejected::DeadlinePassed => "deadline",
            Rejected::BreakerOpen { phase, .. } => {
                assert_eq!(*phase, Phase::Open);
                "breaker"
            }
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["bulkhead", "key", "deadline", "breaker"]);
    for error in &errors {
        assert_eq!(
            (error.effect(), error.attempts().len()),
            (Effect::NotExecuted, 0),
            "{error}"
        );
    }
    let after = pipeline.state();
    let (breaker, budget) = (after.breaker.unwrap(), after.budget.unwrap());
    assert_eq!((breaker.calls, breaker.failed), (0, 0));
    assert_eq!(budget, before.budget.unwrap());
}

/// CALL-3, CALL-14: a retry that the breaker refuses gives its token back; the call shows the operation's error.
#[tokio::test(start_paused = true)]
async fn a_refused_retry_gives_its_token_back() {
    let pipeline = Pipeline::builder("p").retry(every(50, 3)).build().unwrap();
    let calls = by_error(&pipeline);
    let call = calls.call_idempotent(async |_| Err(UNKNOWN));
    let open = async {
        sleep(ms(10)).await;
        assert_eq!(pipeline.state().budget.unwrap().extra_in_progress, 1);
        pipeline.breaker().force_open();
    };
    let (result, ()) = tokio::join!(call, open);
    let error = result.unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Rejected, 1));
    assert_eq!(error.reason(), &Reason::Operation(UNKNOWN));
    let budget = pipeline.state().budget.unwrap();
    assert_eq!((budget.extra_in_progress, budget.extra_spent), (0, 0));
    assert_eq!(budget.available, 10);
}

/// CALL-3: an open breaker says when to come back, to the millisecond.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_says_when_to_come_back() {
    let breaker = Breaker::default().consecutive_failures(1).open_for(ms(700));
    let recorder = Recorder::default();
    let pipeline = Pipeline::builder("p")
        .breaker(breaker)
        .listener(recorder.clone())
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    assert!(calls.call(async |_| Err(UNKNOWN)).await.is_err());
    sleep(ms(200)).await;
    let error = calls.call(async |_| Ok(1)).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(ms(500)));
    assert!(recorder.heard(&EventKind::Rejected {
        by: Policy::Breaker
    }));
    sleep(ms(500)).await;
    assert!(calls.call(async |_| Ok(1)).await.is_ok());
}

/// CALL-3: an empty budget ends the call with the dependency's error, not with a failure of ours.
#[tokio::test(start_paused = true)]
async fn an_empty_budget_ends_the_call() {
    let budget = backstay_call::BudgetOptions::default()
        .ratio(0.0)
        .reserve_per_s(0);
    let pipeline = Pipeline::builder("p").budget(budget).build().unwrap();
    let error = by_error(&pipeline)
        .call(async |_| Err(NOT_SENT))
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Budget, 1));
    assert_eq!(error.reason(), &Reason::Operation(NOT_SENT));
    assert_eq!(pipeline.breaker().state().failed, 1);
}

/// CALL-3: a pipeline around another counts the inner one's refusals as nobody's failure and repeats none of them.
#[tokio::test(start_paused = true)]
async fn an_outer_pipeline_tells_inner_refusals_apart() {
    let inner = Pipeline::builder("inner").build().unwrap();
    let outer = Pipeline::builder("outer").build().unwrap();
    let calls = outer.classified(Nested);
    inner.breaker().force_open();
    let attempts = std::cell::Cell::new(0);
    let through = async |_| {
        attempts.set(attempts.get() + 1);
        by_error(&inner).call(async |_| Ok(1)).await
    };
    for call in 1..=20 {
        let error = calls.call_idempotent(through).await.unwrap_err();
        assert_eq!((attempts.get(), error.stop()), (call, Stop::Permanent));
        assert_eq!(error.effect(), Effect::NotExecuted);
    }
    assert_eq!(outer.breaker().state().phase, Phase::Closed);
    assert_eq!(outer.breaker().state().failed, 0);

    inner.breaker().force_close();
    for (failure, class) in [
        (UNKNOWN, Class::Transient(Effect::Unknown)),
        (PERMANENT, Class::Permanent(Effect::NotExecuted)),
        (IGNORED, Class::Ignored(Effect::NotExecuted)),
    ] {
        let error = by_error(&inner)
            .call(async |_| Err(failure))
            .await
            .unwrap_err();
        assert_eq!(error.class(), class);
    }
}

/// CALL-3: a fallback in place of a call that was refused is no extra load.
#[tokio::test(start_paused = true)]
async fn a_fallback_for_a_refusal_draws_nothing() {
    let none = BudgetOptions::default().ratio(0.0).reserve_per_s(0);
    let pipeline = Pipeline::builder("p").budget(none).build().unwrap();
    pipeline.breaker().force_open();
    let calls = by_error(&pipeline);
    let call = calls.call(async |_| Ok(1));
    let answer = call.fallback_call(|_| async { Ok::<_, Fail>(9) }).await;
    assert_eq!(answer.unwrap(), 9);
}

/// CALL-3: by hand too, a deadline that has passed is a refusal.
#[tokio::test(start_paused = true)]
async fn nobody_enters_after_the_deadline() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let late = backstay_call::deadline::within(ms(0), async { pipeline.enter().err() });
    assert_eq!(late.await, Some(Rejected::DeadlinePassed));
}
