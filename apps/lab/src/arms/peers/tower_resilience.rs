//! tower-resilience: the standard stack for outbound calls of its composition guide.

use std::time::Duration;

use tower::{Service, ServiceBuilder, ServiceExt};
use tower_resilience::circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::{FixedTimeout, TimeLimiterError, TimeLimiterLayer};

use super::{
    Answer, Arm, Call, Client, DEADLINE, Failure, Input, Parts, Runs, Site, is_transient, parts,
};

/// The guide gives each attempt a third of the whole: 10 s of 30 s.
const ATTEMPTS: u32 = 3;

pub(crate) const ARM: Arm = Arm {
    name: "tower-resilience",
    about: "tower-resilience 0.13, presets: 250 ms in all > retry (3 attempts, 100 ms doubling) > \
            breaker (50 % of 100 calls, open 30 s) > a third of it for each attempt",
    runs: Runs::OnRequest,
    build,
};

type Attempted = CircuitBreakerError<TimeLimiterError<Failure>>;

fn build(site: &Site) -> anyhow::Result<Parts> {
    let dependency = site.dependency.clone();
    let service = ServiceBuilder::new()
        .layer(limit(DEADLINE))
        .layer(
            RetryLayer::<Input, (), Attempted>::exponential_backoff()
                // The guide's advice: a refusal of the breaker is not tried again.
                .retry_on(|error| match error {
                    CircuitBreakerError::OpenCircuit => false,
                    CircuitBreakerError::Inner(TimeLimiterError::Timeout) => true,
                    CircuitBreakerError::Inner(TimeLimiterError::Inner(failure)) => {
                        is_transient(failure)
                    }
                })
                .build(),
        )
        .layer(CircuitBreakerLayer::standard().build()?)
        .layer(limit(DEADLINE / ATTEMPTS))
        .service_fn(move |input: Input| input.send(dependency.clone()));
    Ok(parts(site, TowerResilience(service)))
}

fn limit(time: Duration) -> TimeLimiterLayer<FixedTimeout> {
    TimeLimiterLayer::builder().timeout_duration(time).build()
}

struct TowerResilience<S>(S);

impl<S> Client for TowerResilience<S>
where
    S: Service<Input, Response = (), Error = TimeLimiterError<Attempted>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    fn call(&self, call: Call) -> Answer<'_> {
        // Clones share the breaker.
        let service = self.0.clone();
        Box::pin(async move {
            let answer = service.oneshot(Input::of(call)).await;
            answer.map_err(|error| match error {
                TimeLimiterError::Inner(CircuitBreakerError::OpenCircuit) => {
                    Failure::Refused("circuit breaker open")
                }
                TimeLimiterError::Inner(CircuitBreakerError::Inner(TimeLimiterError::Inner(
                    failure,
                ))) => failure,
                _ => Failure::DeadlineExceeded,
            })
        })
    }
}
