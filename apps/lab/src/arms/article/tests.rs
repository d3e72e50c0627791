//! The quirks are what the experiments are about, so each has a test that it is still there.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::idempotent::{CreateError, IdempotentKeyStore};
use super::*;

const FAILED: Failure = Failure::Refused("failed");

#[tokio::test(start_paused = true)]
async fn retry_sleeps_after_the_last_attempt_with_added_jitter() {
    let (start, attempts) = (Instant::now(), Cell::new(0));
    let call = |_| {
        attempts.set(attempts.get() + 1);
        async { Err(FAILED) }
    };
    assert!(retry_with_backoff(call, 3, |_| 0.5).await.is_err());
    assert_eq!(attempts.get(), 3);
    // 1 s + 2 s + 4 s, and a quarter of each as jitter.
    assert_eq!(start.elapsed(), Duration::from_millis(8_750));
}

#[tokio::test(start_paused = true)]
async fn retry_takes_all_of_4xx_as_final() {
    let (start, attempts) = (Instant::now(), Cell::new(0));
    let call = |_| {
        attempts.set(attempts.get() + 1);
        async { Err(Failure::Status(StatusCode::TOO_MANY_REQUESTS)) }
    };
    assert!(retry_with_backoff(call, 3, |_| 0.0).await.is_err());
    assert_eq!((attempts.get(), start.elapsed()), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn breaker_makes_calls_one_by_one() {
    let breaker = CircuitBreaker::new(MAX_FAILURES, OPEN_FOR);
    let start = Instant::now();
    let call = || async {
        sleep(Duration::from_millis(20)).await;
        Ok(())
    };
    let (first, second, third) =
        tokio::join!(breaker.call(call), breaker.call(call), breaker.call(call));
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert_eq!(start.elapsed(), Duration::from_millis(60));
}

#[tokio::test(start_paused = true)]
async fn breaker_opens_on_failures_in_a_row_and_tries_again_after_its_time() {
    let breaker = CircuitBreaker::new(5, Duration::from_secs(5));
    let fail = || async { Err(FAILED) };
    let succeed = || async { Ok(()) };
    for _ in 0..4 {
        assert!(breaker.call(fail).await.is_err());
    }
    assert!(
        breaker.call(succeed).await.is_ok(),
        "a success clears the count"
    );
    for _ in 0..5 {
        assert!(breaker.call(fail).await.is_err());
    }
    assert!(breaker.call(succeed).await.is_err(), "open");
    sleep(Duration::from_secs(5)).await;
    assert!(
        breaker.call(succeed).await.is_ok(),
        "half-open, then closed"
    );
    assert!(breaker.call(succeed).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn bulkhead_refuses_at_once_and_an_unknown_pool_for_ever() {
    let bulkhead = BulkheadExecutor::new(&[("one", 1)]);
    let slow = || async {
        sleep(Duration::from_millis(20)).await;
        Ok(())
    };
    let (first, second) =
        tokio::join!(bulkhead.execute("one", slow), bulkhead.execute("one", slow));
    assert!(first.is_ok() && second.is_err());
    assert!(bulkhead.execute("one", slow).await.is_ok());
    assert!(bulkhead.execute("none", slow).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn timeout_ends_the_wait() {
    let forever = std::future::pending();
    let answer = call_with_timeout(forever, DEADLINE).await;
    assert!(matches!(answer, Err(Failure::DeadlineExceeded)));
}

#[tokio::test(start_paused = true)]
async fn hedge_always_sends_the_backup() {
    let (sent, unread) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let request = |_| {
        let sent = sent.clone();
        async move {
            sent.fetch_add(1, Relaxed);
            Ok(())
        }
    };
    let count_unread = {
        let unread = unread.clone();
        move || {
            unread.fetch_add(1, Relaxed);
        }
    };
    let start = Instant::now();
    assert!(
        hedged_request(request, HEDGE_AFTER, count_unread)
            .await
            .is_ok()
    );
    assert!(
        start.elapsed() < HEDGE_AFTER,
        "the first answer is not held back"
    );
    sleep(2 * HEDGE_AFTER).await;
    assert_eq!((sent.load(Relaxed), unread.load(Relaxed)), (2, 1));
}

#[tokio::test]
async fn created_keys_are_known_until_the_process_ends() {
    let created = Cell::new(0);
    let create = || async {
        created.set(created.get() + 1);
        Ok::<_, Failure>(())
    };
    let keys = IdempotentKeyStore::default();
    assert!(keys.create_key(7, b"tea", create()).await.is_ok());
    assert!(keys.create_key(7, b"tea", create()).await.is_ok());
    assert_eq!(created.get(), 1);
    let other = keys.create_key(7, b"milk", create()).await;
    assert!(matches!(other, Err(CreateError::Different)));
    let restarted = IdempotentKeyStore::default();
    assert!(restarted.create_key(7, b"tea", create()).await.is_ok());
    assert_eq!(created.get(), 2);
}

#[tokio::test]
async fn what_could_not_be_created_is_not_known() {
    let keys = IdempotentKeyStore::default();
    let fail = async { Err(FAILED) };
    assert!(keys.create_key(7, b"tea", fail).await.is_err());
    let create = async { Ok::<_, Failure>(()) };
    assert!(keys.create_key(7, b"milk", create).await.is_ok());
}
