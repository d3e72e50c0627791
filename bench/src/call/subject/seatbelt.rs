//! seatbelt: its own `layered` services (the tower ones box each call), default settings.
//!
//! It has no bulkhead. Two stacks stand for the four policies it has in one call: the
//! one nearest to ours, and the order its documentation recommends.

use std::hint::black_box;

use layered::{Execute, Service, Stack};
use seatbelt::breaker::{Breaker, BreakerLayer};
use seatbelt::fallback::Fallback;
use seatbelt::hedging::{Hedging, HedgingLayer};
use seatbelt::retry::{Retry, RetryLayer};
use seatbelt::timeout::{Timeout, TimeoutLayer};
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::Clock;

use super::{
    ATTEMPT_TIMEOUT, ATTEMPTS, DEADLINE, Failed, Group, Run, failing_operation, operation,
};

const NAME: &str = "seatbelt";

/// Its default breaker wants 100 calls before it opens.
const FAILURES: usize = 200;

type Answer = Result<u64, Failed>;
type Context = ResilienceContext<(), Answer>;

pub(crate) fn runs() -> Vec<Run> {
    vec![
        Run::shared(
            NAME,
            Group::BreakerClosed,
            async || (breaker(&context()), Execute::new(|()| operation())).into_service(),
            passes,
        ),
        Run::alone(
            NAME,
            Group::BreakerOpen,
            async || {
                let service =
                    (breaker(&context()), Execute::new(|()| failing_operation())).into_service();
                for _ in 0..FAILURES {
                    let _ = service.execute(()).await;
                }
                service
            },
            refuses,
        ),
        Run::alone(
            NAME,
            Group::RetryUnused,
            async || (retry(&context()), Execute::new(|()| operation())).into_service(),
            passes,
        ),
        Run::alone(
            NAME,
            Group::Timeout,
            async || (attempt_timeout(&context()), Execute::new(|()| operation())).into_service(),
            passes,
        ),
        Run::alone(
            NAME,
            Group::Hedge,
            async || (hedge(&context()), Execute::new(|()| operation())).into_service(),
            passes,
        ),
        Run::shared(
            "seatbelt (4: timeout > retry > breaker > timeout)",
            Group::Stack,
            async || {
                let context = context();
                (
                    deadline(&context),
                    retry(&context),
                    breaker(&context),
                    attempt_timeout(&context),
                    Execute::new(|()| operation()),
                )
                    .into_service()
            },
            passes,
        ),
        Run::shared(
            "seatbelt (4: fallback > retry > breaker > timeout)",
            Group::Stack,
            async || {
                let context = context();
                (
                    Fallback::layer("fallback", &context)
                        .should_fallback(Result::is_err)
                        .fallback(|_, _| Ok(0)),
                    retry(&context),
                    breaker(&context),
                    attempt_timeout(&context),
                    Execute::new(|()| operation()),
                )
                    .into_service()
            },
            passes,
        ),
    ]
}

fn context() -> Context {
    ResilienceContext::new(Clock::new_tokio())
}

fn breaker(context: &Context) -> BreakerLayer<(), Answer> {
    Breaker::layer("breaker", context)
        .recovery_with(|answer, _| recovery(answer))
        .rejected_input_error(|(), _| Failed::Policy)
}

fn retry(context: &Context) -> RetryLayer<(), Answer> {
    Retry::layer("retry", context)
        .max_retry_attempts(ATTEMPTS - 1)
        .clone_input()
        .recovery_with(|answer, _| recovery(answer))
}

fn deadline(context: &Context) -> TimeoutLayer<(), Answer> {
    Timeout::layer("deadline", context)
        .timeout_error(|_| Failed::Policy)
        .timeout(DEADLINE)
}

fn attempt_timeout(context: &Context) -> TimeoutLayer<(), Answer> {
    Timeout::layer("attempt", context)
        .timeout_error(|_| Failed::Policy)
        .timeout(ATTEMPT_TIMEOUT)
}

fn hedge(context: &Context) -> HedgingLayer<(), Answer> {
    Hedging::layer("hedge", context)
        .clone_input()
        .recovery_with(|answer, _| recovery(answer))
}

fn recovery(answer: &Answer) -> RecoveryInfo {
    match answer {
        Ok(_) => RecoveryInfo::never(),
        Err(_) => RecoveryInfo::retry(),
    }
}

async fn passes(service: &mut impl Service<(), Out = Answer>) -> bool {
    black_box(service.execute(()).await).is_ok()
}

async fn refuses(service: &mut impl Service<(), Out = Answer>) -> bool {
    let answer = black_box(service.execute(()).await);
    matches!(answer, Err(Failed::Policy))
}
