//! A pipeline that meets success, a retry, an outage and its end, on paused time.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use backstay_call::{Backoff, Breaker, Listener, Pipeline, Retry};
use tokio::runtime::Builder;
use tokio::time::sleep;

/// Tells `listener` the whole story.
pub(crate) fn tell(listener: impl Listener) {
    let payments = Pipeline::builder("payments")
        .retry(Retry::backoff(Backoff::fixed(Duration::from_millis(50))))
        .breaker(Breaker::failure_rate(0.5).consecutive_failures(3))
        .listener(listener)
        .build()
        .expect("the options are right");
    on_paused_time(async {
        one_success(&payments).await;
        one_retry(&payments).await;
        for _ in 0..3 {
            one_failure(&payments).await;
        }
        one_failure(&payments).await;
        // Longer than the breaker stays open.
        sleep(Duration::from_secs(2)).await;
        one_success(&payments).await;
        one_success(&payments).await;
    });
}

pub(crate) fn on_paused_time(work: impl Future<Output = ()>) {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(work);
}

async fn one_success(payments: &Pipeline) {
    let answer = payments
        .call(async |_| {
            sleep(Duration::from_millis(250)).await;
            Ok::<_, io::Error>(())
        })
        .await;
    assert!(answer.is_ok());
}

async fn one_retry(payments: &Pipeline) {
    let failed = Cell::new(false);
    let op = |_| async {
        if failed.replace(true) {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    };
    assert!(payments.call_idempotent(op).await.is_ok());
}

async fn one_failure(payments: &Pipeline) {
    let op = async |_| Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionReset));
    assert!(payments.call(op).await.is_err());
}
