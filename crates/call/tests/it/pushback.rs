//! What the dependency says about coming back.

use std::cell::Cell;
use std::time::Duration;

use backstay_call::{Pipeline, Policy, Pushback, Retry, Stop};
use tokio::time::{Instant, sleep};

use crate::common::*;

/// CALL-13: the next attempt comes no sooner than the dependency asked, and is spread after it.
#[tokio::test(start_paused = true)]
async fn the_time_asked_for_is_waited() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .retry(every(10, 2))
        .build()
        .unwrap();
    let start = Instant::now();
    let answer = by_error(&pipeline)
        .call(async |attempt| {
            if attempt.number() == 1 {
                Err(overloaded(Pushback::After(ms(300))))
            } else {
                Ok(2)
            }
        })
        .await;
    assert_eq!((answer.unwrap(), start.elapsed()), (2, ms(310)));
}

/// CALL-13: a time that just fits is waited without the spread; a timer needs the last millisecond.
#[tokio::test(start_paused = true)]
async fn a_time_that_just_fits_is_waited() {
    let retry = every(10, 2).min_time(ms(100));
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .retry(retry)
        .build()
        .unwrap();
    let start = Instant::now();
    let answer = by_error(&pipeline)
        .call(async |attempt| {
            if attempt.number() == 1 {
                Err(overloaded(Pushback::After(ms(899))))
            } else {
                Ok(2)
            }
        })
        .await;
    assert_eq!((answer.unwrap(), start.elapsed()), (2, ms(899)));
}

/// CALL-13: a time that does not fit ends the call at once.
#[tokio::test(start_paused = true)]
async fn a_time_that_does_not_fit_ends_the_call() {
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .retry(every(10, 3))
        .build()
        .unwrap();
    for asked in [ms(999), ms(1000), ms(5000), Duration::MAX] {
        let start = Instant::now();
        let error = by_error(&pipeline)
            .call(async |_| Err(overloaded(Pushback::After(asked))))
            .await
            .unwrap_err();
        assert_eq!(
            (error.stop(), error.attempts().len()),
            (Stop::Pushback, 1),
            "{asked:?}"
        );
        assert_eq!(start.elapsed(), ms(0));
        assert_idle(&pipeline);
    }
}

/// CALL-13: "not again" ends the call at once.
#[tokio::test(start_paused = true)]
async fn not_again_ends_the_call() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let error = by_error(&pipeline)
        .call_idempotent(async |_| Err(overloaded(Pushback::Never)))
        .await
        .unwrap_err();
    assert_eq!((error.stop(), error.attempts().len()), (Stop::Pushback, 1));
}

/// CALL-13: without a deadline too a call does not sleep for ever because the dependency asked it to.
#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_wait_is_bounded() {
    let pipeline = Pipeline::builder("p")
        .without(Policy::Deadline)
        .build()
        .unwrap();
    for asked in [Duration::from_secs(86_400), Duration::MAX] {
        let call = by_error(&pipeline);
        let call = call.call(async |_| Err::<u32, _>(overloaded(Pushback::After(asked))));
        let error = tokio::time::timeout(Duration::from_secs(7200), call)
            .await
            .expect("ends by itself")
            .unwrap_err();
        assert_eq!(error.stop(), Stop::Pushback);
    }
}

/// CALL-13: an overload without a time is waited out by the backoff.
#[tokio::test(start_paused = true)]
async fn an_overload_without_a_time_backs_off() {
    let pipeline = Pipeline::builder("p").retry(every(70, 2)).build().unwrap();
    let start = Instant::now();
    let error = by_error(&pipeline)
        .call(async |_| Err(overloaded(Pushback::Unstated)))
        .await
        .unwrap_err();
    assert_eq!((error.stop(), start.elapsed()), (Stop::Attempts, ms(70)));
}

/// CALL-13: what one of two attempts was told holds although the other failed after it and was told nothing.
#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_later_does_not_unsay_it() {
    for (pushback, stop, elapsed) in [
        (Pushback::Never, Stop::Pushback, 60),
        (Pushback::After(ms(500)), Stop::Attempts, 570),
    ] {
        let pipeline = Pipeline::builder("p")
            .deadline(ms(2000))
            .retry(every(10, 3))
            .hedge(backstay_call::Hedge::after(ms(20)))
            .budget(plenty())
            .build()
            .unwrap();
        let start = Instant::now();
        let sent = Cell::new(0);
        let error = by_error(&pipeline)
            .call_idempotent(async |attempt| {
                sent.set(attempt.number());
                match attempt.number() {
                    1 => {
                        sleep(ms(40)).await;
                        Err(overloaded(pushback))
                    }
                    2 => {
                        sleep(ms(40)).await;
                        Err(UNKNOWN)
                    }
                    _ => Err(UNKNOWN),
                }
            })
            .await
            .unwrap_err();
        assert_eq!(
            (error.stop(), start.elapsed()),
            (stop, ms(elapsed)),
            "{pushback:?}"
        );
    }
}

/// CALL-13: the spread on top of a time that was asked for leaves at least half of what is left for the attempt.
#[tokio::test(start_paused = true)]
async fn the_spread_leaves_time_for_the_attempt() {
    let retry = Retry::exponential(ms(900));
    let pipeline = Pipeline::builder("p")
        .deadline(ms(1000))
        .retry(retry)
        .build()
        .unwrap();
    for _ in 0..50 {
        let answer = by_error(&pipeline)
            .call(async |attempt| {
                if attempt.number() == 1 {
                    return Err(overloaded(Pushback::After(ms(800))));
                }
                assert!(attempt.remaining().unwrap() >= ms(100));
                Ok(2)
            })
            .await;
        assert_eq!(answer.unwrap(), 2);
    }
}
