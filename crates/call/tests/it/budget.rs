//! How much load a pipeline can add, whatever the dependency does.

use std::cell::Cell;
use std::future::pending;

use backstay_call::{
    Abandoned, Attempt, Breaker, Budget, BudgetOptions, Bulkhead, Class, Effect, EventKind, Hedge,
    Outcome, Pipeline, Policy, Stop,
};
use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use crate::common::*;

/// How the dependency behaves.
#[derive(Clone, Copy, Debug)]
enum Backend {
    Fails,
    Hangs,
    /// Fails so many of a hundred, and takes so many milliseconds.
    Flaky(u32, u64),
}

fn backend() -> impl Strategy<Value = Backend> {
    prop_oneof![
        Just(Backend::Fails),
        Just(Backend::Hangs),
        (0u32..100, 0u64..200).prop_map(|(share, time)| Backend::Flaky(share, time)),
    ]
}

async fn answer(backend: Backend, seed: u32) -> Result<u32, Fail> {
    match backend {
        Backend::Fails => Err(NOT_SENT),
        Backend::Hangs => pending().await,
        Backend::Flaky(share, time) => {
            sleep(ms(time)).await;
            // Spread evenly enough; nothing here needs chance.
            if seed.wrapping_mul(2_654_435_761) >> 16 & 0x7F < share {
                Err(UNKNOWN)
            } else {
                Ok(1)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    /// CALL-14: for any backend and any concurrency, two pipelines that share a budget together make no more
    /// extra attempts than their calls earn and the reserve of the seconds that passed. Counted at the backend.
    #[test]
    fn extra_attempts_stay_within_the_budget(
        ratio in 0u32..=500, reserve in 0u32..=5, backend in backend(), attempts in 2u32..=10,
        concurrency in 1usize..=50, rounds in 1usize..6, hedge in prop::option::of(1u64..40), limit in 1u32..=60,
    ) {
        let ratio = f64::from(ratio) / 1000.0;
        let budget = Budget::new(BudgetOptions::default().ratio(ratio).reserve_per_s(reserve)).unwrap();
        let build = |name: &str| {
            let mut builder = Pipeline::builder(name)
                .deadline(ms(300))
                .attempt_timeout(ms(60))
                .retry(every(3, attempts))
                .without(Policy::Breaker)
                .bulkhead(Bulkhead::limit(limit))
                .shared_budget(&budget);
            if let Some(delay) = hedge {
                builder = builder.hedge(Hedge::after(ms(delay)));
            }
            builder.build().unwrap()
        };
        let pipelines = [build("a"), build("b")];
        let (first, extra) = (Cell::new(0u32), Cell::new(0u32));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let elapsed = runtime.block_on(async {
            let start = Instant::now();
            let client = async |index: usize| {
                let calls = by_error(&pipelines[index % 2]);
                for _ in 0..rounds {
                    let op = |attempt: Attempt| {
                        let counter = if attempt.number() == 1 { &first } else { &extra };
                        counter.set(counter.get() + 1);
                        answer(backend, first.get() + 31 * extra.get())
                    };
                    let _ = calls.call_idempotent(op).await;
                }
            };
            join_all((0..concurrency).map(client)).await;
            start.elapsed()
        });
        // The first and the last second may both be cut.
        let seconds = u32::try_from(elapsed.as_millis().div_ceil(1000)).unwrap() + 1;
        let most = ratio * f64::from(first.get()) + f64::from(reserve * seconds);
        prop_assert!(
            f64::from(extra.get()) <= most + 1e-6,
            "{} extra for {} first attempts in {elapsed:?}, at most {most}", extra.get(), first.get()
        );
        prop_assert_eq!(budget.snapshot().extra_in_progress, 0);
    }
}

/// CALL-14: calls that the bulkhead refuses send nothing and earn nothing.
#[tokio::test(start_paused = true)]
async fn refused_calls_earn_nothing() {
    let pipeline = Pipeline::builder("p")
        .bulkhead(Bulkhead::limit(1))
        .budget(BudgetOptions::default().ratio(0.1).reserve_per_s(0))
        .build()
        .unwrap();
    let calls = by_error(&pipeline);
    let mut holder = Box::pin(calls.call(async |_| pending().await));
    assert!(poll_once(holder.as_mut()).is_pending());
    for _ in 0..100 {
        assert!(calls.call(async |_| Ok(1)).await.is_err());
    }
    drop(holder);
    let error = calls.call(async |_| Err(NOT_SENT)).await.unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Budget, 1));
    assert_eq!(pipeline.state().budget.unwrap().calls, 2);
}

/// CALL-14: the token is taken before the backoff and held until the attempt ends.
#[tokio::test(start_paused = true)]
async fn the_token_is_held_from_the_pause_to_the_end() {
    let pipeline = Pipeline::builder("p").retry(every(100, 2)).build().unwrap();
    let calls = by_error(&pipeline);
    let call = calls.call_idempotent(async |attempt| {
        sleep(ms(100)).await;
        if attempt.number() == 1 {
            Err(UNKNOWN)
        } else {
            Ok(1)
        }
    });
    let held = async || {
        let budget = pipeline.state().budget.unwrap();
        budget.extra_in_progress
    };
    let watch = async {
        for (at, expected) in [(50, 0), (150, 1), (250, 1)] {
            sleep(ms(if at == 50 { 50 } else { 100 })).await;
            assert_eq!(held().await, expected, "at {at} ms");
        }
    };
    let (answer, ()) = tokio::join!(call, watch);
    assert!(answer.is_ok());
    assert_eq!(held().await, 0);
}

/// CALL-14: by default ten percent and ten retries a second, so an outage costs little more than its calls.
#[tokio::test(start_paused = true)]
async fn the_default_budget_holds_in_an_outage() {
    let pipeline = Pipeline::builder("p")
        .breaker(
            Breaker::default()
                .consecutive_failures(u32::MAX)
                .minimum_calls(1_000_000),
        )
        .build()
        .unwrap();
    let (sent, start) = (Cell::new(0u32), Instant::now());
    let calls = by_error(&pipeline);
    join_all((0..1000).map(async |_| {
        let op = async |_| {
            sent.set(sent.get() + 1);
            Err(NOT_SENT)
        };
        let _ = calls.call(op).await;
    }))
    .await;
    let seconds = u32::try_from(start.elapsed().as_millis().div_ceil(1000)).unwrap() + 1;
    assert!(sent.get() > 1000, "retries are on by default");
    assert!(sent.get() <= 1000 + 100 + 10 * seconds, "{}", sent.get());
}

/// CALL-14: who retries by hand draws on the same budget.
#[tokio::test(start_paused = true)]
async fn a_retry_by_hand_draws_on_the_same_budget() {
    let pipeline = Pipeline::builder("p")
        .budget(BudgetOptions::default().ratio(0.0).reserve_per_s(1))
        .build()
        .unwrap();
    let permit = pipeline.budget().try_retry().unwrap();
    let error = by_error(&pipeline)
        .call(async |_| Err(NOT_SENT))
        .await
        .unwrap_err();
    assert_eq!(error.stop(), Stop::Budget);
    drop(permit);
    assert_idle(&pipeline);
}

/// CALL-14: an attempt by hand is a call that earns its share, and is heard of like any other.
#[tokio::test(start_paused = true)]
async fn attempts_by_hand_earn_and_are_heard() {
    let heard = Recorder::default();
    let budget = BudgetOptions::default().ratio(1.0).reserve_per_s(0);
    let pipeline = Pipeline::builder("p")
        .budget(budget)
        .listener(heard.clone())
        .build()
        .unwrap();
    assert!(pipeline.budget().try_retry().is_none());
    pipeline.enter().unwrap().finish(Class::Success);
    assert!(pipeline.budget().try_retry().is_some());
    drop(pipeline.enter().unwrap());
    let ended: Vec<_> = heard
        .events()
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::AttemptEnded {
                outcome, effect, ..
            } => Some((outcome, effect)),
            _ => None,
        })
        .collect();
    let gone = Outcome::Abandoned(Abandoned::CallerGone);
    assert_eq!(
        ended,
        [
            (Outcome::Success, Effect::Executed),
            (gone, Effect::Unknown)
        ]
    );
    assert_eq!(
        heard.count(|kind| matches!(kind, EventKind::AttemptStarted { .. })),
        2
    );
}
