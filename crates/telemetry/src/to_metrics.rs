use backstay_call::event::Transition;
use backstay_call::{Event, EventKind, Listener, Phase};
use metrics::{SharedString, counter, gauge, histogram};

use crate::{names, table};

/// Counts and times what happens, through the `metrics` facade.
///
/// Labels take few values: the name of the pipeline or the admission, and words from closed lists. Times are
/// in seconds. Nothing that a caller sends becomes a label.
///
/// Each update looks its metric up in the recorder, so a recorder that is installed late is still found.
///
/// ```
/// use backstay_call::Pipeline;
/// use backstay_telemetry::MetricsListener;
///
/// let payments = Pipeline::builder("payments").listener(MetricsListener::new()).build()?;
/// # Ok::<(), backstay_call::Invalid>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsListener;

impl MetricsListener {
    /// A listener for one pipeline.
    pub const fn new() -> Self {
        Self
    }

    /// Tells the recorder each metric's unit and meaning. Once, after the recorder is installed.
    pub fn describe() {
        table::describe();
    }
}

impl Listener for MetricsListener {
    fn on_event(&self, event: &Event<'_>) {
        let name = || SharedString::from(event.name.to_owned());
        match event.kind {
            EventKind::CallEnded {
                stop,
                succeeded,
                took,
                ..
            } => {
                let outcome = if succeeded { "ok" } else { "error" };
                counter!(table::CALLS, "pipeline" => name(), "outcome" => outcome, "stop" => stop.name()).increment(1);
                histogram!(table::CALL_DURATION, "pipeline" => name(), "outcome" => outcome)
                    .record(took);
            }
            EventKind::CallDropped { took, .. } => {
                counter!(table::CALLS, "pipeline" => name(), "outcome" => "dropped", "stop" => "dropped").increment(1);
                histogram!(table::CALL_DURATION, "pipeline" => name(), "outcome" => "dropped")
                    .record(took);
            }
            EventKind::AttemptEnded {
                hedge,
                outcome,
                took,
                ..
            } => {
                let (outcome, hedge) = (names::outcome(outcome), truth(hedge));
                counter!(table::ATTEMPTS, "pipeline" => name(), "outcome" => outcome, "hedge" => hedge).increment(1);
                histogram!(table::ATTEMPT_DURATION, "pipeline" => name(), "outcome" => outcome)
                    .record(took);
            }
            EventKind::RetryScheduled { wait, .. } => {
                counter!(table::RETRIES, "pipeline" => name()).increment(1);
                histogram!(table::RETRY_WAIT, "pipeline" => name()).record(wait);
            }
            EventKind::HedgeSuppressed { by } => {
                counter!(table::HEDGES_SUPPRESSED, "pipeline" => name(), "by" => by.name())
                    .increment(1);
            }
            EventKind::Rejected { by } => {
                counter!(table::REJECTIONS, "pipeline" => name(), "by" => by.name()).increment(1);
            }
            EventKind::Observed { policy } => {
                counter!(table::OBSERVED, "pipeline" => name(), "policy" => policy.name())
                    .increment(1);
            }
            EventKind::Unqueued { waited } => {
                histogram!(table::QUEUE_WAIT, "pipeline" => name()).record(waited);
            }
            EventKind::Breaker(transition) => on_transition(name(), transition),
            EventKind::BreakerControl(control) => {
                let to = names::control(control);
                counter!(table::BREAKER_CONTROLS, "pipeline" => name(), "to" => to).increment(1);
            }
            EventKind::Reconfigured => {
                counter!(table::RECONFIGURATIONS, "pipeline" => name()).increment(1);
            }
            EventKind::Admitted { waited } => {
                counter!(table::ADMITTED, "admission" => name()).increment(1);
                histogram!(table::ADMISSION_WAIT, "admission" => name()).record(waited);
            }
            EventKind::Shed { reason } => {
                counter!(table::SHED, "admission" => name(), "reason" => reason.name())
                    .increment(1);
            }
            EventKind::Handled { end, took } => {
                counter!(table::HANDLED, "admission" => name(), "end" => end.name()).increment(1);
                histogram!(table::HANDLER_DURATION, "admission" => name(), "end" => end.name())
                    .record(took);
            }
            // What is queued or started is counted when it ends; an unknown kind is of a newer `backstay-call`.
            _ => {}
        }
    }
}

fn on_transition(pipeline: SharedString, transition: Transition) {
    let (to, cause) = (names::phase(transition.to), names::cause(transition.cause));
    counter!(table::BREAKER_TRANSITIONS, "pipeline" => pipeline.clone(), "to" => to, "cause" => cause).increment(1);
    gauge!(table::BREAKER_PHASE, "pipeline" => pipeline).set(match transition.to {
        Phase::Closed => 0.0,
        Phase::HalfOpen => 1.0,
        Phase::Open => 2.0,
    });
}

const fn truth(hedge: bool) -> &'static str {
    if hedge { "true" } else { "false" }
}
