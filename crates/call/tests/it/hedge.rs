//! A second attempt beside a slow one.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::time::Duration;

use backstay_call::{
    Abandoned, BudgetOptions, EventKind, Hedge, Outcome, Pipeline, PipelineBuilder, Policy, Stop,
};
use tokio::time::{Instant, sleep};

use crate::common::*;

fn hedging() -> PipelineBuilder {
    Pipeline::builder("p")
        .deadline(ms(1000))
        .hedge(Hedge::after(ms(20)))
        .budget(plenty())
}

/// CALL-16: at the delay, to the millisecond, and only for calls that may be done twice.
#[tokio::test(start_paused = true)]
async fn only_calls_that_may_be_done_twice_are_hedged() {
    let pipeline = hedging().build().unwrap();
    let calls = by_error(&pipeline);
    let starts = RefCell::new(Vec::new());
    let begin = Cell::new(Instant::now());
    let op = async |_| {
        starts.borrow_mut().push(begin.get().elapsed());
        sleep(ms(100)).await;
        Ok(1)
    };
    assert!(calls.call(op).await.is_ok());
    assert_eq!(starts.take(), [ms(0)]);
    begin.set(Instant::now());
    assert!(calls.call_idempotent(op).await.is_ok());
    assert_eq!(starts.take(), [ms(0), ms(20)]);
    begin.set(Instant::now());
    assert!(calls.call_keyed("k", op).await.is_ok());
    assert_eq!(starts.take(), [ms(0), ms(20)]);
}

/// CALL-17: the first success wins; the loser is dropped with the answer, and booked as one that lost.
#[tokio::test(start_paused = true)]
async fn the_first_success_wins_and_the_loser_is_dropped() {
    for winner in [1, 2] {
        let recorder = Recorder::default();
        let pipeline = hedging().listener(recorder.clone()).build().unwrap();
        let gauge = Gauge::default();
        let calls = by_error(&pipeline);
        let mut run = Box::pin(calls.call_idempotent(async |attempt| {
            let _alive = gauge.enter();
            sleep(if attempt.number() == winner {
                ms(30)
            } else {
                ms(500)
            })
            .await;
            Ok(attempt.number())
        }));
        assert_eq!(run.as_mut().await.unwrap(), winner);
        assert_eq!(
            (gauge.most(), gauge.now()),
            (2, 0),
            "the loser is still alive"
        );
        let lost = |kind: &EventKind| {
            matches!(kind, EventKind::AttemptEnded { number, outcome: Outcome::Abandoned(Abandoned::LostRace), .. }
                if *number == 3 - winner)
        };
        assert_eq!(recorder.count(lost), 1, "{:?}", recorder.events());
        let breaker = pipeline.breaker().state();
        assert_eq!((breaker.calls, breaker.failed), (1, 0));
        assert_idle(&pipeline);
    }
}

/// CALL-17: a transient failure before the delay sends the next at once, also beside nothing.
#[tokio::test(start_paused = true)]
async fn a_failure_before_the_delay_sends_the_next_at_once() {
    let pipeline = hedging().retry(every(300, 3)).build().unwrap();
    let start = Instant::now();
    let report = by_error(&pipeline)
        .call_idempotent(async |attempt| {
            sleep(ms(5)).await;
            if attempt.number() == 1 {
                Err(UNKNOWN)
            } else {
                Ok(2)
            }
        })
        .report()
        .await;
    assert_eq!((report.result.unwrap(), start.elapsed()), (2, ms(10)));
}

/// CALL-17: a transient failure of one leaves the other running; its success is the answer.
#[tokio::test(start_paused = true)]
async fn one_failure_does_not_end_the_race() {
    let pipeline = hedging().build().unwrap();
    let start = Instant::now();
    let answer = by_error(&pipeline)
        .call_idempotent(async |attempt| {
            sleep(ms(40)).await;
            if attempt.number() == 1 {
                Err(UNKNOWN)
            } else {
                Ok(2)
            }
        })
        .await;
    assert_eq!((answer.unwrap(), start.elapsed()), (2, ms(60)));
}

/// CALL-17: a permanent failure of either ends the call.
#[tokio::test(start_paused = true)]
async fn a_permanent_failure_ends_the_call() {
    let pipeline = hedging().build().unwrap();
    let start = Instant::now();
    let error = by_error(&pipeline)
        .call_idempotent(async |attempt| {
            if attempt.number() == 1 {
                pending::<()>().await;
            }
            sleep(ms(5)).await;
            Err(PERMANENT)
        })
        .await
        .unwrap_err();
    assert_eq!((error.stop(), start.elapsed()), (Stop::Permanent, ms(25)));
    assert_eq!(error.attempts().len(), 2);
}

/// CALL-16, CALL-17: an empty budget keeps back only the hedge; the reserve is not for hedges.
#[tokio::test(start_paused = true)]
async fn an_empty_budget_keeps_back_only_the_hedge() {
    let recorder = Recorder::default();
    let pipeline = hedging()
        .budget(BudgetOptions::default().ratio(0.0).reserve_per_s(100))
        .listener(recorder.clone())
        .build()
        .unwrap();
    let start = Instant::now();
    let report = by_error(&pipeline)
        .call_idempotent(async |_| {
            sleep(ms(100)).await;
            Ok(1)
        })
        .report()
        .await;
    assert_eq!((report.attempts().len(), start.elapsed()), (1, ms(100)));
    assert!(report.result.is_ok());
    assert!(recorder.heard(&EventKind::HedgeSuppressed { by: Policy::Budget }));
    // A failure before the delay then is an ordinary retry, which has the reserve.
    let error = by_error(&pipeline)
        .call_idempotent(async |_| Err(UNKNOWN))
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Attempts, 3));
}

/// CALL-3, CALL-17: a hedge that an open breaker refuses costs neither the call nor the budget.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_keeps_back_only_the_hedge() {
    let recorder = Recorder::default();
    let pipeline = hedging().listener(recorder.clone()).build().unwrap();
    let calls = by_error(&pipeline);
    let call = calls.call_idempotent(async |_| {
        sleep(ms(100)).await;
        Ok(1)
    });
    let open = async {
        sleep(ms(10)).await;
        pipeline.breaker().force_open();
    };
    let (answer, ()) = tokio::join!(call, open);
    assert_eq!(answer.unwrap(), 1);
    assert!(recorder.heard(&EventKind::HedgeSuppressed {
        by: Policy::Breaker
    }));
    let budget = pipeline.state().budget.unwrap();
    assert_eq!((budget.extra_in_progress, budget.extra_spent), (0, 0));
}

/// CALL-16: never more attempts than the call may have, hedges included.
#[tokio::test(start_paused = true)]
async fn hedges_count_as_attempts() {
    let pipeline = hedging().retry(every(10, 3)).build().unwrap();
    let error = by_error(&pipeline)
        .call_idempotent(async |_| {
            sleep(ms(50)).await;
            Err(UNKNOWN)
        })
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Attempts, 3));
    let hedges: Vec<_> = error
        .attempts()
        .iter()
        .map(|attempt| attempt.hedge)
        .collect();
    assert_eq!(hedges, [false, true, false]);
}

async fn take(pipeline: &Pipeline, time: Duration) {
    let op = async |_| {
        sleep(time).await;
        Ok(1)
    };
    let _ = by_error(pipeline).call(op).await;
}

/// CALL-16: a quantile hedges nothing before it has its samples, and then at the latency observed.
#[tokio::test(start_paused = true)]
async fn a_quantile_wants_its_samples() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .hedge(Hedge::at_quantile(0.9).min_samples(10))
        .build()
        .unwrap();
    for _ in 0..9 {
        take(&pipeline, ms(20)).await;
    }
    sleep(ms(200)).await;
    assert_eq!(pipeline.state().hedge_after, None);
    take(&pipeline, ms(20)).await;
    sleep(ms(200)).await;
    let delay = pipeline.state().hedge_after.unwrap();
    assert!((ms(20)..ms(22)).contains(&delay), "{delay:?}");
}

/// CALL-16: time-outs and losers are part of the latency; fast failures are not.
#[tokio::test(start_paused = true)]
async fn losers_and_time_outs_are_latency_too() {
    let hedge = Hedge::at_quantile(0.9).min_samples(10).at_most(ms(900));
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .hedge(hedge)
        .breaker(
            backstay_call::Breaker::default()
                .consecutive_failures(u32::MAX)
                .minimum_calls(1000),
        )
        .build()
        .unwrap();
    for _ in 0..5 {
        take(&pipeline, ms(20)).await;
    }
    for _ in 0..20 {
        let _ = by_error(&pipeline).call(async |_| Err(PERMANENT)).await;
    }
    sleep(ms(200)).await;
    assert_eq!(
        pipeline.state().hedge_after,
        None,
        "fast failures are no latency"
    );
    for _ in 0..5 {
        let op = async |_| pending::<Result<u32, Fail>>().await;
        let _ = by_error(&pipeline).call(op).deadline(ms(400)).await;
    }
    sleep(ms(200)).await;
    let delay = pipeline.state().hedge_after.unwrap();
    assert!((ms(400)..ms(420)).contains(&delay), "{delay:?}");

    let pipeline = hedging().build().unwrap();
    for _ in 0..10 {
        let op = async |attempt: backstay_call::Attempt| {
            sleep(if attempt.number() == 1 {
                ms(900)
            } else {
                ms(10)
            })
            .await;
            Ok(1)
        };
        assert!(by_error(&pipeline).call_idempotent(op).await.is_ok());
    }
    let mut settings = pipeline.settings();
    settings.hedge = Some(Hedge::at_quantile(0.9).min_samples(20));
    pipeline.reconfigure(settings).unwrap();
    sleep(ms(200)).await;
    let delay = pipeline.state().hedge_after.unwrap();
    assert!(
        (ms(30)..ms(32)).contains(&delay),
        "losers ran 30 ms: {delay:?}"
    );
}

/// CALL-16: a quantile of half of the time that a call has or more hedges nothing.
#[tokio::test(start_paused = true)]
async fn a_quantile_off_the_scale_hedges_nothing() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .hedge(Hedge::at_quantile(0.9).min_samples(10))
        .build()
        .unwrap();
    for _ in 0..10 {
        take(&pipeline, ms(700)).await;
    }
    sleep(ms(200)).await;
    assert_eq!(pipeline.state().hedge_after, None);
}
