//! `CircuitBreaker`.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::engine::client::Failure;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Closed,
    Open,
    HalfOpen,
}

pub(super) struct CircuitBreaker {
    max_failures: u32,
    timeout: Duration,
    guarded: Mutex<Guarded>,
}

struct Guarded {
    state: State,
    failures: u32,
    last_attempt: Option<Instant>,
}

impl CircuitBreaker {
    pub(super) fn new(max_failures: u32, timeout: Duration) -> Self {
        let guarded = Guarded {
            state: State::Closed,
            failures: 0,
            last_attempt: None,
        };
        Self {
            max_failures,
            timeout,
            guarded: Mutex::new(guarded),
        }
    }

    pub(super) async fn call<F, Fut>(&self, call: F) -> Result<(), Failure>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        // Quirk: the mutex is held across the call, so calls go one by one: at 20 ms each, 50 a
        // second are the ceiling. Waiting for the mutex has no limit.
        let mut breaker = self.guarded.lock().await;

        if breaker.state == State::Open {
            if breaker
                .last_attempt
                .is_some_and(|last| last.elapsed() < self.timeout)
            {
                return Err(Failure::Refused("circuit breaker open"));
            }
            breaker.state = State::HalfOpen;
        }

        let result = call().await;

        // Quirk: any error counts, the caller's own mistakes too.
        if result.is_err() {
            // Quirk: failures in a row, not a rate; one success among many failures clears it.
            breaker.failures += 1;
            breaker.last_attempt = Some(Instant::now());
            if breaker.failures >= self.max_failures {
                breaker.state = State::Open;
            }
            return result;
        }
        breaker.failures = 0;
        breaker.state = State::Closed;
        Ok(())
    }
}
