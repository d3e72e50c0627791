//! When a call is repeated, how often, and when it stops.

use std::cell::{Cell, RefCell};

use backstay_call::{Class, Effect, Pipeline, Reason, Rejected, Retry, Stop};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use crate::common::*;

/// CALL-15: what certainly had no effect is repeated for a plain call too, and the attempts tell the story.
#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_repeated_for_plain_calls() {
    let pipeline = Pipeline::builder("p").retry(every(50, 3)).build().unwrap();
    let report = by_error(&pipeline)
        .call(async |attempt| {
            sleep(ms(7)).await;
            if attempt.number() < 3 {
                Err(NOT_SENT)
            } else {
                Ok(attempt.number())
            }
        })
        .report()
        .await;
    assert_eq!(report.result.as_ref().ok(), Some(&3));
    let story: Vec<_> = report
        .attempts()
        .iter()
        .map(|a| {
            (
                a.number,
                a.started_after,
                a.took,
                a.waited,
                a.effect,
                a.hedge,
            )
        })
        .collect();
    let none = Effect::NotExecuted;
    assert_eq!(
        story,
        [
            (1, ms(0), ms(7), ms(0), none, false),
            (2, ms(57), ms(7), ms(50), none, false),
            (3, ms(114), ms(7), ms(50), Effect::Executed, false),
        ]
    );
}

/// CALL-15: a plain call stops at the first attempt that may have had an effect.
#[tokio::test(start_paused = true)]
async fn a_plain_call_stops_at_an_unknown_effect() {
    let pipeline = Pipeline::builder("p").retry(every(1, 5)).build().unwrap();
    let error = by_error(&pipeline)
        .call(async |attempt| {
            Err(if attempt.number() == 1 {
                NOT_SENT
            } else {
                UNKNOWN
            })
        })
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Effect, 2));
    assert_eq!(error.effect(), Effect::Unknown);
    assert_eq!(error.operation(), Some(&UNKNOWN));
}

/// CALL-4, CALL-15: the effect of a call is the most that any of its attempts may have done.
#[tokio::test(start_paused = true)]
async fn the_effect_is_the_worst_of_all_attempts() {
    let pipeline = Pipeline::builder("p").retry(every(1, 2)).build().unwrap();
    let error = by_error(&pipeline)
        .call_idempotent(async |attempt| {
            Err(if attempt.number() == 1 {
                UNKNOWN
            } else {
                NOT_SENT
            })
        })
        .await
        .unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown);
}

/// CALL-13: no sleep after the last attempt.
#[tokio::test(start_paused = true)]
async fn nothing_waits_after_the_last_attempt() {
    let pipeline = Pipeline::builder("p").retry(every(100, 2)).build().unwrap();
    let start = Instant::now();
    let error = by_error(&pipeline)
        .call_idempotent(async |_| Err(UNKNOWN))
        .await
        .unwrap_err();
    assert_eq!((error.stop(), start.elapsed()), (Stop::Attempts, ms(100)));
}

/// CALL-13: a wait that would end after the deadline is not begun.
#[tokio::test(start_paused = true)]
async fn no_sleep_past_the_deadline() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .retry(every(400, 5))
        .build()
        .unwrap();
    let start = Instant::now();
    let error = by_error(&pipeline)
        .call_idempotent(async |_| Err(UNKNOWN))
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Deadline, 3));
    assert_eq!(start.elapsed(), ms(800));
    assert!(matches!(error.reason(), Reason::Operation(_)));
}

/// CALL-13: no attempt starts with less time left than its minimum.
#[tokio::test(start_paused = true)]
async fn no_attempt_starts_with_less_than_its_minimum() {
    let retry = every(400, 5).min_time(ms(300));
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .retry(retry)
        .build()
        .unwrap();
    let least = Cell::new(ms(9999));
    let error = by_error(&pipeline)
        .call_idempotent(async |_| {
            least.set(
                least
                    .get()
                    .min(backstay_call::deadline::remaining().unwrap()),
            );
            Err(UNKNOWN)
        })
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Deadline, 2));
    // The third would have 200 ms.
    assert_eq!(least.get(), ms(600));
}

/// CALL-13: a call that begins with less than the minimum sends nothing.
#[tokio::test(start_paused = true)]
async fn a_first_attempt_needs_its_minimum_too() {
    let retry = Retry::default().min_time(ms(300));
    let pipeline = Pipeline::builder("p").retry(retry).build().unwrap();
    let error = by_error(&pipeline)
        .call(async |_| Ok(1))
        .deadline(ms(299))
        .await
        .unwrap_err();
    assert_eq!(error.rejected(), Some(&Rejected::DeadlinePassed));
    assert!(
        by_error(&pipeline)
            .call(async |_| Ok(1))
            .deadline(ms(300))
            .await
            .is_ok()
    );
}

/// CALL-15: every attempt carries the same key.
#[tokio::test(start_paused = true)]
async fn every_attempt_carries_the_same_key() {
    let pipeline = Pipeline::builder("p").retry(every(1, 3)).build().unwrap();
    let keys = RefCell::new(Vec::new());
    let error = by_error(&pipeline)
        .call_keyed("order-7", async |attempt| {
            keys.borrow_mut()
                .push(attempt.key().unwrap().as_str().to_owned());
            Err(UNKNOWN)
        })
        .await
        .unwrap_err();
    assert_eq!(keys.take(), ["order-7"; 3]);
    assert_eq!(error.stop(), Stop::Attempts);
}

/// CALL-15: a key that can't travel in a header is refused by type, and nothing is sent.
#[tokio::test(start_paused = true)]
async fn a_bad_key_is_refused() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    for bad in [
        String::new(),
        "x".repeat(256),
        "a\nb".to_owned(),
        "ü".to_owned(),
    ] {
        let sent = Cell::new(false);
        let error = by_error(&pipeline)
            .call_keyed(bad.clone(), async |_| {
                sent.set(true);
                Ok(1)
            })
            .await
            .unwrap_err();
        let Some(Rejected::Key(invalid)) = error.rejected() else {
            panic!("{bad:?}: {error}");
        };
        assert_eq!(invalid.field, "idempotency key");
        assert_eq!(invalid.limit, "must be 1 to 255 printable ASCII characters");
        assert_eq!(
            (sent.get(), error.stop(), error.effect()),
            (false, Stop::Rejected, Effect::NotExecuted)
        );
    }
    let longest = "x".repeat(255);
    assert!(
        by_error(&pipeline)
            .call_keyed(longest, async |_| Ok(1))
            .await
            .is_ok()
    );
}

/// CALL-2, CALL-15: permanent and ignored failures are not repeated; the breaker counts only the first.
#[tokio::test(start_paused = true)]
async fn what_repeating_does_not_mend_is_not_repeated() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    for (fail, failed) in [(IGNORED, 0), (PERMANENT, 1)] {
        let error = by_error(&pipeline)
            .call_idempotent(async |_| Err(fail))
            .await
            .unwrap_err();
        assert_eq!((error.stop(), error.attempts().len()), (Stop::Permanent, 1));
        let breaker = pipeline.breaker().state();
        assert_eq!(
            (breaker.calls, breaker.failed),
            (failed, failed),
            "{fail:?}"
        );
    }
}

/// CALL-9, CALL-13: an attempt that runs into its own time is repeated if the call is idempotent.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_times_out_is_repeated() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .attempt_timeout(ms(100))
        .retry(every(50, 3))
        .build()
        .unwrap();
    let start = Instant::now();
    let op = async |attempt: backstay_call::Attempt| {
        if attempt.number() == 1 {
            std::future::pending::<()>().await;
        }
        Ok(attempt.number())
    };
    assert_eq!(by_error(&pipeline).call_idempotent(op).await.unwrap(), 2);
    assert_eq!(start.elapsed(), ms(150));
    let error = by_error(&pipeline).call(op).await.unwrap_err();
    assert!(matches!(error.reason(), Reason::TimedOut));
    assert_eq!(
        (error.stop(), error.effect()),
        (Stop::Effect, Effect::Unknown)
    );
}

/// CALL-4: a call whose last attempt timed out says so, whatever the one before had said.
#[tokio::test(start_paused = true)]
async fn the_last_attempt_gives_the_reason() {
    let pipeline = Pipeline::builder("p").retry(every(1, 2)).build().unwrap();
    let op = async |attempt: backstay_call::Attempt| {
        if attempt.number() == 2 {
            std::future::pending::<()>().await;
        }
        Err(UNKNOWN)
    };
    let error = by_error(&pipeline).call_idempotent(op).await.unwrap_err();
    assert_eq!(error.reason(), &Reason::TimedOut);
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Deadline, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// CALL-12, CALL-13: whatever the options, a call ends by its deadline, and with its last attempt.
    #[test]
    fn a_call_ends_with_its_last_attempt(
        deadline in 2u64..500, base in 1u64..400, attempts in 1u32..=10, min_time in 0u64..100, took in 0u64..50,
        jitter in any::<bool>(),
    ) {
        prop_assume!(base < deadline && min_time <= deadline);
        let retry = if jitter { Retry::exponential(ms(base)) } else { every(base, 1) };
        let pipeline = Pipeline::builder("p")
            .deadline(ms(deadline))
            .retry(retry.max_attempts(attempts).min_time(ms(min_time)))
            .budget(plenty())
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (error, elapsed, ended) = runtime.block_on(async {
            let start = Instant::now();
            let ended = Cell::new(ms(0));
            let error = by_error(&pipeline)
                .call_idempotent(async |_| {
                    let left = backstay_call::deadline::remaining().unwrap();
                    assert!(left > ms(0));
                    sleep(ms(took)).await;
                    ended.set(start.elapsed());
                    Err(UNKNOWN)
                })
                .await
                .unwrap_err();
            (error, start.elapsed(), ended.get())
        });
        prop_assert!(elapsed <= ms(deadline));
        prop_assert!(error.attempts().len() <= attempts as usize);
        let last = error.attempts().iter().last().map(|last| last.started_after + last.took);
        // Only a call whose wait ended a timer's tick late may end after its last attempt, by that wait.
        if error.stop() != Stop::Deadline {
            prop_assert_eq!(last, Some(elapsed));
            prop_assert!(ended <= elapsed);
        }
        assert_idle(&pipeline);
    }
}

/// CALL-4: an error that means "done already" is still an error to its caller, and says that it was executed.
#[tokio::test(start_paused = true)]
async fn an_error_that_is_a_success_was_executed() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let calls = by_error(&pipeline);
    let done = Fail(Class::Success);
    let error = calls.call(async |_| Err(done)).await.unwrap_err();
    assert_eq!(error.operation(), Some(&done));
    assert_eq!(
        (error.stop(), error.effect()),
        (Stop::Succeeded, Effect::Executed)
    );
    assert_eq!(pipeline.breaker().state().failed, 0);
}
