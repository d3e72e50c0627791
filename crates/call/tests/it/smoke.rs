//! The shortest ways to use a pipeline.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use backstay_call::{Effect, Pipeline, Reason, Rejected, Retry, Stop};
use tokio::time::sleep;

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

/// CALL-15: a plain call whose effect is unknown is not repeated, an idempotent one is.
#[tokio::test(start_paused = true)]
async fn only_idempotent_calls_repeat_what_may_have_happened() {
    let pipeline = Pipeline::builder("payments").build().unwrap();
    let attempts = Cell::new(0);
    let op = |_attempt| async {
        attempts.set(attempts.get() + 1);
        Err::<(), _>(refused())
    };
    let error = pipeline.call(op).await.unwrap_err();
    assert_eq!(
        (attempts.get(), error.stop(), error.effect()),
        (1, Stop::Effect, Effect::Unknown)
    );

    attempts.set(0);
    let error = pipeline.call_idempotent(op).await.unwrap_err();
    assert_eq!((attempts.get(), error.stop()), (3, Stop::Attempts));
    assert_eq!(error.attempts().len(), 3);
}

/// CALL-13: a hung dependency lets its caller go at the deadline.
#[tokio::test(start_paused = true)]
async fn a_hung_call_ends_at_its_deadline() {
    let pipeline = Pipeline::builder("payments")
        .deadline(Duration::from_secs(1))
        .build()
        .unwrap();
    let start = tokio::time::Instant::now();
    let error = pipeline
        .call(async |_| std::future::pending::<io::Result<()>>().await)
        .await
        .unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!(matches!(error.reason(), Reason::TimedOut));
    assert_eq!(error.stop(), Stop::Deadline);
}

/// CALL-9: a hung dependency opens the breaker, which then refuses at once.
#[tokio::test(start_paused = true)]
async fn a_hung_dependency_opens_the_breaker() {
    let pipeline = Pipeline::builder("payments")
        .deadline(Duration::from_millis(100))
        .retry(Retry::default().max_attempts(1))
        .build()
        .unwrap();
    for _ in 0..10 {
        let _ = pipeline
            .call(async |_| {
                sleep(Duration::from_secs(9)).await;
                Ok::<_, io::Error>(())
            })
            .await;
    }
    let error = pipeline
        .call(async |_| Ok::<_, io::Error>(()))
        .await
        .unwrap_err();
    assert!(
        matches!(error.rejected(), Some(Rejected::BreakerOpen { .. })),
        "{error}"
    );
}
