//! The clock that users get, in real time: this binary is built without tokio's `test-util`.
//!
//! `cargo xtask test` builds it by itself, because in a build of the whole workspace other tests ask for that feature.

use std::future::{Future, pending};
use std::io;
use std::thread;
use std::time::Duration;

use backstay::{
    Attempt, Backoff, Breaker, Phase, Pipeline, PipelineBuilder, Reason, Rejected, Retry, Stop,
};

#[path = "../../call/src/clock/pause.rs"]
mod pause;

const _: () = assert!(
    !pause::CAN_PAUSE,
    "tokio has `test-util` here: run `cargo xtask test`"
);

/// So that a timer which never fires fails and does not hang. No test comes near it.
const CAP: Duration = Duration::from_secs(60);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(CAP, work).await.expect("a wait ends")
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn once() -> PipelineBuilder {
    Pipeline::builder("dependency").retry(Retry::default().max_attempts(1))
}

fn failed() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionReset.into())
}

/// CALL-13: the timer that ends a call and the counter that judges it agree.
#[tokio::test]
async fn a_hung_call_ends_at_its_deadline() {
    let pipeline = once().deadline(ms(200)).build().unwrap();
    let hung = pipeline.call(async |_| pending::<io::Result<()>>().await);
    let error = in_time(hung).await.unwrap_err();
    assert!(matches!(error.reason(), Reason::TimedOut), "{error}");
    assert_eq!(error.stop(), Stop::Deadline);
    let attempt = error.attempts().iter().next().expect("it was sent");
    assert!(attempt.started_after + attempt.took >= ms(200));
}

/// CALL-13: the pause before a retry ends, and is as long by the counter as it was asked to be.
#[tokio::test]
async fn a_retry_waits_for_its_pause() {
    let retry = Retry::backoff(Backoff::fixed(ms(20))).max_attempts(2);
    let pipeline = once().deadline(CAP).retry(retry).build().unwrap();
    let call = pipeline.call_idempotent(async |_| failed());
    let error = in_time(call).await.unwrap_err();
    assert_eq!(error.stop(), Stop::Attempts);
    let waited: Vec<_> = error
        .attempts()
        .iter()
        .map(|attempt| attempt.waited)
        .collect();
    assert_eq!(waited.len(), 2);
    assert!(waited[1] >= ms(20), "{waited:?}");
}

/// CALL-8: the open time passes, and whoever comes after it is the probe.
#[tokio::test]
async fn an_open_breaker_sends_its_probe() {
    let breaker = Breaker::default().consecutive_failures(1).open_for(ms(20));
    let pipeline = once().breaker(breaker).build().unwrap();
    assert!(pipeline.call(async |_| failed()).await.is_err());
    assert_eq!(pipeline.breaker().state().phase, Phase::Open);
    let probe = async {
        while let Err(error) = pipeline.call(async |_| Ok::<_, io::Error>(())).await {
            let open = matches!(error.rejected(), Some(Rejected::BreakerOpen { .. }));
            assert!(open, "{error}");
            tokio::time::sleep(error.retry_after().expect("no operator holds it open")).await;
        }
    };
    in_time(probe).await;
    assert_ne!(pipeline.breaker().state().phase, Phase::Open);
}

/// CALL-22: what is left of an attempt shrinks from thread to thread, and only shrinks.
#[tokio::test]
async fn time_does_not_go_back_from_thread_to_thread() {
    let pipeline = once().deadline(CAP).build().unwrap();
    let left = async |attempt: Attempt| {
        let mut left = vec![attempt.remaining()];
        for _ in 0..200 {
            // A thread that was started and has ended stands between two readings, so their order is certain.
            left.push(thread::scope(|scope| {
                let there = scope.spawn(|| attempt.remaining());
                there.join().expect("a thread that reads a clock")
            }));
            left.push(attempt.remaining());
        }
        Ok::<_, io::Error>(left)
    };
    let left = pipeline.call(left).await.unwrap();
    assert!(
        left.is_sorted_by(|earlier, later| earlier >= later),
        "{left:?}"
    );
    assert!(left.first() > left.last(), "time stands still");
}
