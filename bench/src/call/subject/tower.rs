//! tower: its own timeout, concurrency limit, budgeted retry and hedge. No breaker.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tower::hedge::Hedge;
use tower::retry::Policy;
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::{Service, ServiceBuilder, ServiceExt};

use super::{ATTEMPT_TIMEOUT, ATTEMPTS, BULKHEAD, DEADLINE, Group, Run, operation};

const NAME: &str = "tower";

/// The hedge's settings come from the test in its crate; it documents no others.
const HEDGE_MIN_DATA_POINTS: u64 = 10;
const HEDGE_QUANTILE: f32 = 0.9;
const HEDGE_PERIOD: Duration = Duration::from_mins(1);

pub(crate) fn runs() -> Vec<Run> {
    vec![
        Run::alone(
            NAME,
            Group::RetryUnused,
            async || {
                ServiceBuilder::new()
                    .retry(Attempts::new())
                    .service_fn(|()| operation())
            },
            passes,
        ),
        Run::alone(
            NAME,
            Group::Timeout,
            async || {
                ServiceBuilder::new()
                    .timeout(ATTEMPT_TIMEOUT)
                    .service_fn(|()| operation())
            },
            passes,
        ),
        Run::alone(
            NAME,
            Group::Bulkhead,
            async || {
                ServiceBuilder::new()
                    .concurrency_limit(BULKHEAD)
                    .service_fn(|()| operation())
            },
            passes,
        ),
        Run::alone(
            NAME,
            Group::Hedge,
            async || {
                Hedge::new(
                    tower::service_fn(|()| operation()),
                    Always,
                    HEDGE_MIN_DATA_POINTS,
                    HEDGE_QUANTILE,
                    HEDGE_PERIOD,
                )
            },
            passes,
        ),
        Run::shared(
            "tower (4: timeout > limit > retry > timeout)",
            Group::Stack,
            async || {
                ServiceBuilder::new()
                    .timeout(DEADLINE)
                    .concurrency_limit(BULKHEAD)
                    .retry(Attempts::new())
                    .timeout(ATTEMPT_TIMEOUT)
                    .service_fn(|()| operation())
            },
            passes,
        ),
    ]
}

/// One call of a tower service, readiness first.
pub(super) async fn passes(service: &mut impl Service<(), Response = u64>) -> bool {
    let answer = match service.ready().await {
        Ok(ready) => ready.call(()).await,
        Err(error) => Err(error),
    };
    black_box(answer).is_ok()
}

/// The retry policy that tower asks its user to write: attempts, budget and backoff.
#[derive(Clone)]
struct Attempts {
    left: u32,
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff,
}

impl Attempts {
    fn new() -> Self {
        Self {
            left: ATTEMPTS - 1,
            budget: Arc::default(),
            backoff: ExponentialBackoffMaker::default().make_backoff(),
        }
    }
}

impl<E> Policy<(), u64, E> for Attempts {
    type Future = <ExponentialBackoff as Backoff>::Future;

    fn retry(&mut self, (): &mut (), result: &mut Result<u64, E>) -> Option<Self::Future> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        if self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(self.backoff.next_backoff())
    }

    fn clone_request(&mut self, (): &()) -> Option<()> {
        Some(())
    }
}

/// A hedge policy for a call that may always be hedged.
#[derive(Clone)]
struct Always;

impl tower::hedge::Policy<()> for Always {
    fn clone_request(&self, (): &()) -> Option<()> {
        Some(())
    }

    fn can_retry(&self, (): &()) -> bool {
        true
    }
}
