//! tower-resilience: its standard presets, on tower services.

use std::hint::black_box;

use tower::{Service, ServiceBuilder, ServiceExt};
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::circuitbreaker::{
    CircuitBreakerError, CircuitBreakerLayer, DefaultClassifier,
};
use tower_resilience::hedge::HedgeLayer;
use tower_resilience::retry::RetryLayer;
use tower_resilience::timelimiter::{FixedTimeout, TimeLimiterLayer};

use super::tower::passes;
use super::{ATTEMPT_TIMEOUT, DEADLINE, Failed, Group, Run, failing_operation, operation};

const NAME: &str = "tower-resilience";

/// Its standard breaker wants its window of 100 calls full before it opens.
const FAILURES: usize = 200;

pub(crate) fn runs() -> Vec<Run> {
    vec![
        Run::shared(
            NAME,
            Group::BreakerClosed,
            async || {
                ServiceBuilder::new()
                    .layer(breaker())
                    .service_fn(|()| operation())
            },
            passes,
        ),
        Run::alone(
            NAME,
            Group::BreakerOpen,
            async || {
                let mut service = ServiceBuilder::new()
                    .layer(breaker())
                    .service_fn(|()| failing_operation());
                for _ in 0..FAILURES {
                    let _ = passes(&mut service).await;
                }
                service
            },
            refuses,
        ),
        Run::alone(
            NAME,
            Group::RetryUnused,
            async || {
                ServiceBuilder::new()
                    .layer(retry::<Failed>())
                    .service_fn(|()| operation())
            },
            passes,
        ),
        Run::alone(
            NAME,
            Group::Timeout,
            async || {
                ServiceBuilder::new()
                    .layer(attempt_timeout())
                    .service_fn(|()| operation())
            },
            passes,
        ),
        Run::alone(
            NAME,
            Group::Bulkhead,
            async || {
                ServiceBuilder::new()
                    .layer(bulkhead())
                    .service_fn(|()| operation())
            },
            passes,
        ),
        Run::alone(
            NAME,
            Group::Hedge,
            async || {
                ServiceBuilder::new()
                    .layer(HedgeLayer::standard())
                    .service_fn(|()| operation())
            },
            passes,
        ),
        Run::shared(
            "tower-resilience (5: timeout > bulkhead > retry > breaker > timeout)",
            Group::Stack,
            async || {
                ServiceBuilder::new()
                    .layer(deadline())
                    .layer(bulkhead())
                    .layer(retry())
                    .layer(breaker())
                    .layer(attempt_timeout())
                    .service_fn(|()| operation())
            },
            passes,
        ),
    ]
}

fn breaker() -> CircuitBreakerLayer<DefaultClassifier> {
    CircuitBreakerLayer::standard()
        .build()
        .expect("a preset is valid")
}

fn retry<E>() -> RetryLayer<(), u64, E> {
    RetryLayer::exponential_backoff().build()
}

fn bulkhead() -> BulkheadLayer {
    BulkheadLayer::medium().build().expect("a preset is valid")
}

fn deadline() -> TimeLimiterLayer<FixedTimeout> {
    TimeLimiterLayer::builder()
        .timeout_duration(DEADLINE)
        .build()
}

fn attempt_timeout() -> TimeLimiterLayer<FixedTimeout> {
    TimeLimiterLayer::builder()
        .timeout_duration(ATTEMPT_TIMEOUT)
        .build()
}

async fn refuses(
    service: &mut impl Service<(), Response = u64, Error = CircuitBreakerError<Failed>>,
) -> bool {
    let answer = match service.ready().await {
        Ok(ready) => ready.call(()).await,
        Err(error) => Err(error),
    };
    matches!(black_box(answer), Err(CircuitBreakerError::OpenCircuit))
}
