use std::time::Duration;

use backstay_call::event::{Cause, HandlerEnd, Transition};
use backstay_call::{Event, EventKind, Listener, Phase};

use crate::names;

/// Tells `tracing` what happens: one event each, with fields, in the span of the call.
///
/// The target is `backstay`. The breaker is heard at `WARN` and `INFO`, what goes wrong with one call at
/// `DEBUG`, what goes right at `TRACE`. Fields hold names, numbers and words from closed lists, never what a
/// caller sends.
///
/// ```
/// use backstay_call::Pipeline;
/// use backstay_telemetry::TracingListener;
///
/// let payments = Pipeline::builder("payments").listener(TracingListener::new()).build()?;
/// # Ok::<(), backstay_call::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingListener;

impl TracingListener {
    /// A listener for one pipeline.
    pub const fn new() -> Self {
        Self
    }
}

/// One `tracing` event of ours: level, name, fields, message.
macro_rules! tell {
    ($level:ident: $name:literal, $($fields:tt)+) => {
        tracing::event!(name: $name, target: "backstay", tracing::Level::$level, $($fields)+)
    };
}

impl Listener for TracingListener {
    fn on_event(&self, event: &Event<'_>) {
        let name = event.name;
        match event.kind {
            EventKind::Queued => {
                tell!(DEBUG: "backstay.call.queued", pipeline = name, "call waits for a place");
            }
            EventKind::Unqueued { waited } => {
                tell!(DEBUG: "backstay.call.unqueued", pipeline = name, waited_us = us(waited), "call got its place");
            }
            EventKind::AttemptStarted { number, hedge } => {
                if hedge {
                    tell!(DEBUG: "backstay.attempt.started", pipeline = name, number, hedge, "hedge sent");
                } else {
                    tell!(TRACE: "backstay.attempt.started", pipeline = name, number, hedge, "attempt started");
                }
            }
            EventKind::AttemptEnded {
                number,
                hedge,
                outcome,
                effect,
                took,
            } => {
                let (outcome, effect) = (names::outcome(outcome), names::effect(effect));
                tell!(
                    TRACE: "backstay.attempt.ended",
                    pipeline = name, number, hedge, outcome, effect, took_us = us(took), "attempt ended"
                );
            }
            EventKind::RetryScheduled { number, wait } => {
                tell!(DEBUG: "backstay.retry.scheduled", pipeline = name, number, wait_us = us(wait), "retry waits");
            }
            EventKind::HedgeSuppressed { by } => {
                tell!(DEBUG: "backstay.hedge.suppressed", pipeline = name, by = by.name(), "hedge not sent");
            }
            EventKind::Rejected { by } => {
                tell!(DEBUG: "backstay.call.rejected", pipeline = name, by = by.name(), "call rejected");
            }
            EventKind::Observed { policy } => {
                tell!(INFO: "backstay.observed", pipeline = name, policy = policy.name(), "policy would have acted");
            }
            EventKind::CallEnded {
                stop,
                succeeded,
                attempts,
                took,
            } => {
                let (stop, took_us) = (stop.name(), us(took));
                if succeeded {
                    tell!(
                        TRACE: "backstay.call.ended",
                        pipeline = name, succeeded, stop, attempts, took_us, "call succeeded"
                    );
                } else {
                    tell!(
                        DEBUG: "backstay.call.ended",
                        pipeline = name, succeeded, stop, attempts, took_us, "call failed"
                    );
                }
            }
            EventKind::CallDropped { attempts, took } => {
                tell!(DEBUG: "backstay.call.dropped", pipeline = name, attempts, took_us = us(took), "call dropped");
            }
            EventKind::Breaker(transition) => on_transition(name, transition),
            EventKind::BreakerControl(control) => {
                let control = names::control(control);
                tell!(INFO: "backstay.breaker.control", pipeline = name, control, "operator set the breaker");
            }
            EventKind::Reconfigured => {
                tell!(INFO: "backstay.reconfigured", pipeline = name, "options replaced");
            }
            EventKind::Admitted { waited } => {
                tell!(TRACE: "backstay.admission.admitted", admission = name, waited_us = us(waited), "request let in");
            }
            EventKind::Shed { reason } => {
                tell!(DEBUG: "backstay.admission.shed", admission = name, reason = reason.name(), "request shed");
            }
            EventKind::Handled { end, took } => {
                let (end, took_us, answered) = (end.name(), us(took), end == HandlerEnd::Answered);
                if answered {
                    tell!(TRACE: "backstay.admission.handled", admission = name, end, took_us, "handler answered");
                } else {
                    tell!(DEBUG: "backstay.admission.handled", admission = name, end, took_us, "handler given up");
                }
            }
            // Of a newer `backstay-call`. It holds no user data either.
            kind => tell!(DEBUG: "backstay.other", name, ?kind, "unknown event"),
        }
    }
}

fn on_transition(name: &str, transition: Transition) {
    let (from, to) = (names::phase(transition.from), names::phase(transition.to));
    let cause = names::cause(transition.cause);
    let (count, of) = counts(transition.cause);
    match transition.to {
        Phase::Open => {
            tell!(WARN: "backstay.breaker.changed", pipeline = name, from, to, cause, count, of, "breaker opened");
        }
        Phase::HalfOpen => {
            tell!(INFO: "backstay.breaker.changed", pipeline = name, from, to, cause, count, of, "breaker probes");
        }
        Phase::Closed => {
            tell!(INFO: "backstay.breaker.changed", pipeline = name, from, to, cause, count, of, "breaker closed");
        }
    }
}

/// The numbers that opened a breaker: how many calls, of how many.
const fn counts(cause: Cause) -> (Option<u64>, Option<u64>) {
    match cause {
        Cause::ConsecutiveFailures(count) => (Some(count as u64), None),
        Cause::FailureRate { failed: count, of }
        | Cause::SlowRate { slow: count, of }
        | Cause::OverloadRate { refused: count, of } => (Some(count), Some(of)),
        _ => (None, None),
    }
}

/// Whole numbers: a fraction of a millisecond is much to some, and its digits are noise.
fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
