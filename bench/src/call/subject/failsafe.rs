//! failsafe: a breaker with its default policy, success rate or consecutive failures.

use std::hint::black_box;

use failsafe::futures::CircuitBreaker;
use failsafe::{Config, Error};

use super::{Group, Run, failing_operation, operation};

const NAME: &str = "failsafe";

/// Its default policy opens after five failures in a row.
const FAILURES: usize = 10;

pub(crate) fn runs() -> Vec<Run> {
    vec![
        Run::shared(
            NAME,
            Group::BreakerClosed,
            async || Config::new().build(),
            passes,
        ),
        Run::alone(
            NAME,
            Group::BreakerOpen,
            async || {
                let breaker = Config::new().build();
                for _ in 0..FAILURES {
                    let _ = breaker.call(failing_operation()).await;
                }
                breaker
            },
            refuses,
        ),
    ]
}

async fn passes(breaker: &mut impl CircuitBreaker) -> bool {
    black_box(breaker.call(operation()).await).is_ok()
}

async fn refuses(breaker: &mut impl CircuitBreaker) -> bool {
    let answer = black_box(breaker.call(operation()).await);
    matches!(answer, Err(Error::Rejected))
}
