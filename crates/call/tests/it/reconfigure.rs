//! New options while calls run.

use std::future::pending;
use std::time::Duration;

use backstay_call::{
    Breaker, Budget, BudgetOptions, Bulkhead, EventKind, Hedge, Phase, Pipeline, Policy, Retry,
};
use tokio::time::{Instant, sleep};

use crate::common::*;

/// CALL-10: new options leave the live state alone: the breaker's phase and counts, permits and tokens.
#[tokio::test(start_paused = true)]
async fn new_options_keep_what_is_live() {
    let recorder = Recorder::default();
    let breaker = Breaker::default()
        .consecutive_failures(3)
        .open_for(ms(5000));
    let pipeline = Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(2))
        .breaker(breaker.clone())
        .retry(every(50, 2))
        .listener(recorder.clone())
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let mut holder = Box::pin(calls.call(async |_| pending().await));
    assert!(poll_once(holder.as_mut()).is_pending());
    for _ in 0..2 {
        let _ = calls.call(async |_| Err(UNKNOWN)).await;
    }
    let token = pipeline.budget().try_retry().unwrap();
    let before = pipeline.state();

    let mut settings = pipeline.settings();
    settings.bulkhead = Some(Bulkhead::limit(5).queue(2));
    settings.breaker = breaker
        .consecutive_failures(4)
        .window(Duration::from_secs(60));
    settings.deadline = ms(3000);
    settings.budget = BudgetOptions::default().ratio(0.5).reserve_per_s(20);
    pipeline.reconfigure(settings.clone()).unwrap();
    assert!(recorder.heard(&EventKind::Reconfigured));
    assert_eq!(pipeline.settings(), settings);
    let after = pipeline.state();
    assert_eq!(after.breaker, before.breaker);
    assert_eq!(after.bulkhead.unwrap().in_use, 1);
    assert_eq!(after.bulkhead.unwrap().limit, 5);
    let (old, new) = (before.budget.unwrap(), after.budget.unwrap());
    assert_eq!(
        (new.calls, new.extra_in_progress),
        (old.calls, old.extra_in_progress)
    );

    let _ = calls.call(async |_| Err(UNKNOWN)).await;
    assert_eq!(
        pipeline.breaker().state().phase,
        Phase::Closed,
        "the new threshold is 4"
    );
    let _ = calls.call(async |_| Err(UNKNOWN)).await;
    assert_eq!(pipeline.breaker().state().phase, Phase::Open);
    pipeline.reconfigure(settings).unwrap();
    assert_eq!(pipeline.breaker().state().phase, Phase::Open);
    drop((holder, token));
    assert_idle(&pipeline);
}

/// CALL-10: options that are refused change nothing, and the error names field, value and limit.
#[tokio::test(start_paused = true)]
async fn refused_options_change_nothing() {
    let recorder = Recorder::default();
    let pipeline = Pipeline::builder("p")
        .listener(recorder.clone())
        .build()
        .unwrap();
    let before = pipeline.settings();
    let mut other_window = before.clone();
    other_window.breaker = Breaker::default().window_of_calls(100);
    other_window.deadline = ms(77);
    other_window.bulkhead = Some(Bulkhead::limit(1));
    let invalid = pipeline.reconfigure(other_window).unwrap_err();
    assert_eq!(invalid.field, "breaker.window");
    assert_eq!(invalid.value, "Calls(100)");
    assert_eq!(invalid.limit, "can't replace Time(10s) while running");

    let mut bad = before.clone();
    bad.retry = Retry::default().max_attempts(0);
    bad.breaker = Breaker::default().consecutive_failures(1);
    let invalid = pipeline.reconfigure(bad).unwrap_err();
    assert_eq!(
        (&*invalid.field, &*invalid.value),
        ("retry.max_attempts", "0")
    );

    assert_eq!(pipeline.settings(), before);
    assert_eq!(pipeline.state().bulkhead, None);
    assert!(!recorder.heard(&EventKind::Reconfigured));
    let _ = by_error(&pipeline).call(async |_| Err(UNKNOWN)).await;
    assert_eq!(pipeline.breaker().state().phase, Phase::Closed);
}

/// CALL-18: more permits go to those who wait; fewer hurt nobody in progress.
#[tokio::test(start_paused = true)]
async fn the_bulkhead_grows_and_shrinks() {
    let pipeline = Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(1).queue(2))
        .build()
        .unwrap();
    let set = |limit| {
        let mut settings = pipeline.settings();
        settings.bulkhead = Some(Bulkhead::limit(limit).queue(2));
        pipeline.reconfigure(settings).unwrap();
        let state = pipeline.state().bulkhead.unwrap();
        (state.in_use, state.waiting)
    };
    let calls = by_error(&pipeline);
    let mut runs: Vec<_> = (0..3)
        .map(|_| Box::pin(calls.call(async |_| pending().await)))
        .collect();
    for run in &mut runs {
        assert!(poll_once(run.as_mut()).is_pending());
    }
    assert_eq!(set(2), (2, 1));
    assert_eq!(set(1), (2, 1));
    drop(runs);
    assert_idle(&pipeline);
    assert!(calls.call(async |_| Ok(1)).await.is_ok());
}

/// CALL-10: a policy can be switched on and off while calls run; permits taken before come back all the same.
#[tokio::test(start_paused = true)]
async fn policies_go_on_and_off_while_calls_run() {
    let pipeline = Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(1))
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let mut holder = Box::pin(calls.call(async |_| pending().await));
    assert!(poll_once(holder.as_mut()).is_pending());
    let with = pipeline.settings();
    let mut without = with.clone();
    without.bulkhead = None;
    pipeline.reconfigure(without).unwrap();
    assert!(calls.call(async |_| Ok(1)).await.is_ok());
    pipeline.reconfigure(with).unwrap();
    assert!(
        calls.call(async |_| Ok(1)).await.is_err(),
        "the holder still holds"
    );
    drop(holder);
    assert!(calls.call(async |_| Ok(1)).await.is_ok());
    assert_idle(&pipeline);
}

/// CALL-14: a shared budget keeps its own options.
#[tokio::test(start_paused = true)]
async fn a_shared_budget_keeps_its_options() {
    let budget = Budget::new(BudgetOptions::default().ratio(0.0).reserve_per_s(3)).unwrap();
    let pipeline = Pipeline::builder("p")
        .shared_budget(&budget)
        .build()
        .unwrap();
    let mut settings = pipeline.settings();
    settings.budget = BudgetOptions::default().reserve_per_s(50);
    pipeline.reconfigure(settings).unwrap();
    assert_eq!(pipeline.state().budget.unwrap().available, 3);
}

/// CALL-5: a slow threshold that is set while calls run does not make slow what began just now.
#[tokio::test(start_paused = true)]
async fn a_new_slow_threshold_is_fair_to_calls_under_way() {
    let breaker = Breaker::default().minimum_calls(5);
    let pipeline = Pipeline::empty("p")
        .breaker(breaker.clone())
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let quick = async || {
        let op = async |_| {
            sleep(ms(10)).await;
            Ok(1)
        };
        calls.call(op).await
    };
    let change = async {
        let mut settings = pipeline.settings();
        settings.breaker = breaker.slow_after(ms(100));
        pipeline.reconfigure(settings).unwrap();
    };
    let all = tokio::join!(quick(), quick(), quick(), quick(), quick(), change);
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok() && all.4.is_ok());
    let state = pipeline.breaker().state();
    assert_eq!((state.slow, state.phase), (0, Phase::Closed));
}

/// CALL-13: a call under way keeps its time; the next has the new one.
#[tokio::test(start_paused = true)]
async fn a_call_under_way_keeps_its_time() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(500))
        .hedge(Hedge::after(ms(50)))
        .without(Policy::Hedge)
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let start = Instant::now();
    let call = async {
        let _ = calls.call(async |_| pending().await).await;
        start.elapsed()
    };
    let change = async {
        sleep(ms(10)).await;
        let mut settings = pipeline.settings();
        settings.deadline = ms(100);
        pipeline.reconfigure(settings).unwrap();
        let _ = calls.call(async |_| pending().await).await;
        start.elapsed()
    };
    assert_eq!(tokio::join!(call, change), (ms(500), ms(110)));
}

/// CALL-8: new options while half-open begin a new round, which always has an end.
#[tokio::test(start_paused = true)]
async fn a_round_of_probes_follows_the_new_options() {
    let options = Breaker::default().consecutive_failures(1).open_for(ms(100));
    let pipeline = Pipeline::builder("p")
        .breaker(options.clone().probes(3))
        .build()
        .unwrap();
    let _ = pipeline.call(async |_| Err::<u32, _>(UNKNOWN)).await;
    sleep(ms(100)).await;
    assert!(pipeline.call(async |_| Ok::<_, Fail>(1)).await.is_ok());
    assert_eq!(pipeline.breaker().state().phase, Phase::HalfOpen);
    let mut settings = pipeline.settings();
    settings.breaker = options.probes(1);
    pipeline.reconfigure(settings).unwrap();
    assert_eq!(pipeline.breaker().state().phase, Phase::HalfOpen);
    assert!(pipeline.call(async |_| Ok::<_, Fail>(1)).await.is_ok());
    assert_eq!(pipeline.breaker().state().phase, Phase::Closed);
}
