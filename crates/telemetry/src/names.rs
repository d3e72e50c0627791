//! The words for values that have no name of their own. Dashboards hang on them: they never change.

use backstay_call::event::Cause;
use backstay_call::{Abandoned, Control, Fault, Outcome, Phase};

pub(crate) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "ok",
        Outcome::Failure(Fault::Error) => "error",
        Outcome::Failure(Fault::Overloaded) => "overloaded",
        Outcome::Ignored => "ignored",
        Outcome::Abandoned(Abandoned::CallerGone) => "caller_gone",
        Outcome::Abandoned(Abandoned::DeadlinePassed) => "deadline_passed",
        Outcome::Abandoned(Abandoned::LostRace) => "lost_race",
        Outcome::Abandoned(Abandoned::ShuttingDown) => "shutting_down",
    }
}

#[cfg(feature = "tracing")]
pub(crate) const fn effect(effect: backstay_call::Effect) -> &'static str {
    use backstay_call::Effect;
    match effect {
        Effect::NotExecuted => "not_executed",
        Effect::Unknown => "unknown",
        Effect::Executed => "executed",
    }
}

pub(crate) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Closed => "closed",
        Phase::HalfOpen => "half_open",
        Phase::Open => "open",
    }
}

pub(crate) const fn control(control: Control) -> &'static str {
    match control {
        Control::Automatic => "automatic",
        Control::ForcedOpen => "forced_open",
        Control::ForcedClosed => "forced_closed",
        Control::Observing => "observing",
    }
}

pub(crate) const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::ConsecutiveFailures(_) => "consecutive_failures",
        Cause::FailureRate { .. } => "failure_rate",
        Cause::SlowRate { .. } => "slow_rate",
        Cause::OverloadRate { .. } => "overload_rate",
        Cause::OpenTimeOver => "open_time_over",
        Cause::ProbesSucceeded => "probes_succeeded",
        Cause::ProbesFailed => "probes_failed",
        Cause::Operator => "operator",
        _ => "other",
    }
}
