//! seatbelt, in the order and with the defaults of its documentation.

use layered::{Execute, Service, Stack};
use seatbelt::breaker::Breaker;
use seatbelt::retry::Retry;
use seatbelt::timeout::Timeout;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::Clock;

use super::{
    Answer, Arm, Call, Client, DEADLINE, Failure, Input, Parts, Runs, Site, is_transient, parts,
};

pub(crate) const ARM: Arm = Arm {
    name: "seatbelt",
    about: "seatbelt 0.11, defaults: retry (4 attempts, 10 ms doubling, jitter) > breaker (10 % of \
            100 in 30 s, open 5 s) > timeout of 250 ms",
    runs: Runs::OnRequest,
    build: |site| Ok(build(site)),
};

fn build(site: &Site) -> Parts {
    let context = ResilienceContext::new(Clock::new_tokio());
    let dependency = site.dependency.clone();
    let service = (
        Retry::layer("retry", &context)
            .clone_input()
            .recovery_with(|answer, _| recovery(answer)),
        Breaker::layer("breaker", &context)
            .recovery_with(|answer, _| recovery(answer))
            .rejected_input_error(|_, _| Failure::Refused("circuit breaker open")),
        // The documentation warns against one timeout around all attempts.
        Timeout::layer("timeout", &context)
            .timeout_error(|_| Failure::DeadlineExceeded)
            .timeout(DEADLINE),
        Execute::new(move |input: Input| input.send(dependency.clone())),
    )
        .into_service();
    parts(site, Seatbelt(service))
}

fn recovery(answer: &Result<(), Failure>) -> RecoveryInfo {
    match answer {
        Err(failure) if is_transient(failure) => RecoveryInfo::retry(),
        _ => RecoveryInfo::never(),
    }
}

struct Seatbelt<S>(S);

impl<S: Service<Input, Out = Result<(), Failure>>> Client for Seatbelt<S> {
    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(self.0.execute(Input::of(call)))
    }
}
