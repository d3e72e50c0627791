//! The metrics: names, units and meanings.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(crate) const CALLS: &str = "backstay.calls";
pub(crate) const CALL_DURATION: &str = "backstay.call.duration";
pub(crate) const ATTEMPTS: &str = "backstay.attempts";
pub(crate) const ATTEMPT_DURATION: &str = "backstay.attempt.duration";
pub(crate) const RETRIES: &str = "backstay.retries";
pub(crate) const RETRY_WAIT: &str = "backstay.retry.wait";
pub(crate) const HEDGES_SUPPRESSED: &str = "backstay.hedges.suppressed";
pub(crate) const REJECTIONS: &str = "backstay.rejections";
pub(crate) const OBSERVED: &str = "backstay.observed";
pub(crate) const QUEUE_WAIT: &str = "backstay.queue.wait";
pub(crate) const BREAKER_TRANSITIONS: &str = "backstay.breaker.transitions";
pub(crate) const BREAKER_PHASE: &str = "backstay.breaker.phase";
pub(crate) const BREAKER_CONTROLS: &str = "backstay.breaker.controls";
pub(crate) const RECONFIGURATIONS: &str = "backstay.reconfigurations";
pub(crate) const ADMITTED: &str = "backstay.admission.admitted";
pub(crate) const ADMISSION_WAIT: &str = "backstay.admission.wait";
pub(crate) const SHED: &str = "backstay.admission.shed";
pub(crate) const HANDLED: &str = "backstay.admission.handled";
pub(crate) const HANDLER_DURATION: &str = "backstay.admission.duration";

pub(crate) fn describe() {
    for (name, meaning) in [
        (CALLS, "Calls that ended"),
        (ATTEMPTS, "Attempts that ended or were given up"),
        (RETRIES, "Retries that calls wait for"),
        (HEDGES_SUPPRESSED, "Hedges that were due and not sent"),
        (REJECTIONS, "Calls refused before anything was sent"),
        (OBSERVED, "Times that an observing policy would have acted"),
        (BREAKER_TRANSITIONS, "Changes of the breaker's phase"),
        (BREAKER_CONTROLS, "Times that an operator set the breaker"),
        (RECONFIGURATIONS, "Times that the options were replaced"),
        (ADMITTED, "Requests taken in"),
        (SHED, "Requests refused or given up in the queue"),
        (HANDLED, "Handlers that ended or were given up"),
    ] {
        describe_counter!(name, Unit::Count, meaning);
    }
    for (name, meaning) in [
        (CALL_DURATION, "Time of a call, queue and backoff included"),
        (ATTEMPT_DURATION, "Time of an attempt"),
        (RETRY_WAIT, "Wait before a retry"),
        (QUEUE_WAIT, "Wait of a call that got its place later"),
        (ADMISSION_WAIT, "Wait of a request that was taken in"),
        (HANDLER_DURATION, "Time of a handler"),
    ] {
        describe_histogram!(name, Unit::Seconds, meaning);
    }
    describe_gauge!(
        BREAKER_PHASE,
        "The breaker: 0 closed, 1 half-open, 2 open; absent until it first changes"
    );
}
