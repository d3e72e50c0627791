//! What errors say to people.

use std::future::pending;

use backstay_call::{Backoff, Bulkhead, Pipeline, Retry};

use crate::common::*;

/// CALL-4: a failed call names its pipeline, what happened, after how many attempts, and why there were no more.
#[tokio::test(start_paused = true)]
async fn a_failed_call_says_where_what_and_how_often() {
    let stock = Pipeline::builder("stock")
        .deadline(ms(500))
        .retry(every(1, 3))
        .build()
        .unwrap();
    let calls = by_error(&stock);
    let failed = calls.call_idempotent(async |_| Err(UNKNOWN)).await;
    let once = calls.call(async |_| Err(PERMANENT)).await;
    let hung = calls.call(async |_| pending().await).await;
    let late = calls.call(async |_| Ok(1)).deadline(ms(0)).await;
    stock.breaker().force_open();
    let refused = calls.call(async |_| Ok(1)).await;
    let errors = [failed, once, hung, late, refused].map(Result::unwrap_err);
    assert!(errors.iter().all(|error| error.pipeline() == "stock"));
    assert_eq!(
        errors.map(|error| error.to_string()),
        [
            "stock: failed after 3 attempts (stop: attempts)",
            "stock: failed after 1 attempt (stop: permanent)",
            "stock: timed out after 1 attempt (stop: deadline)",
            "stock: the deadline has passed",
            "stock: the circuit breaker is open",
        ]
    );
}

/// An option that is refused is printed by `main` as it reads: field, value, limit.
#[test]
fn a_refused_option_is_printed_as_it_reads() {
    let many = Pipeline::builder("p").retry(Retry::backoff(Backoff::fixed(ms(1))).max_attempts(99));
    let invalid = many.build().unwrap_err();
    let text = "retry.max_attempts = 99: must be in 1..=10";
    assert_eq!(
        (format!("{invalid}"), format!("{invalid:?}")),
        (text.into(), text.into())
    );
    let none = Pipeline::builder("p").bulkhead(Bulkhead::limit(0)).build();
    assert_eq!(
        format!("{none:?}"),
        "Err(bulkhead.limit = 0: must be in 1..=1000000)"
    );
}
