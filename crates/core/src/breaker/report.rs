use std::time::Duration;

use super::word::{Control, Phase};
use crate::Moment;

/// Why a circuit lets no call pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// Open, or half-open with all probes under way.
    pub phase: Phase,
    /// Who decided. With [`Control::Observing`] the driver lets the call pass all the same.
    pub control: Control,
    /// When it makes sense to ask again, where that is known.
    pub retry_after: Option<Duration>,
}

/// A change of phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The phase that ended.
    pub from: Phase,
    /// The phase that began.
    pub to: Phase,
    /// Why.
    pub cause: Cause,
    /// When the first probes may go, if the circuit opened by itself.
    pub probe_at: Option<Moment>,
}

/// Why a circuit changed its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// So many failures without a success between.
    ConsecutiveFailures(u32),
    /// Too many of the calls in the window failed.
    FailureRate {
        /// Failed calls.
        failed: u64,
        /// Finished calls.
        of: u64,
    },
    /// Too many of the calls in the window were slow.
    SlowRate {
        /// Slow calls.
        slow: u64,
        /// Calls that ended in time or became slow.
        of: u64,
    },
    /// Too many of the calls in the window were refused as overload.
    OverloadRate {
        /// Refused calls.
        refused: u64,
        /// Finished calls.
        of: u64,
    },
    /// The open time is over; probes may go.
    OpenTimeOver,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Too many probes failed.
    ProbesFailed,
    /// An operator asked for it.
    Operator,
}

/// What a circuit looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitSnapshot {
    /// Where it stands.
    pub phase: Phase,
    /// Who decides.
    pub control: Control,
    /// Since when it has stood there.
    pub since: Moment,
    /// When an open circuit sends its next probe.
    pub probe_at: Option<Moment>,
    /// Finished calls in the window.
    pub calls: u64,
    /// Failed calls in the window.
    pub failed: u64,
    /// Calls in the window that were refused as overload.
    pub overloaded: u64,
    /// Slow calls in the window, finished or not.
    pub slow: u64,
    /// Failures without a success between.
    pub consecutive_failures: u32,
    /// Results that came after their epoch and changed nothing, since the beginning.
    pub stale: u64,
}

impl Rejection {
    /// Whether the call passes all the same, because the circuit only observes.
    pub fn observed(&self) -> bool {
        self.control == Control::Observing
    }
}

impl Cause {
    /// The cause in one word, for a label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ConsecutiveFailures(_) => "consecutive_failures",
            Self::FailureRate { .. } => "failure_rate",
            Self::SlowRate { .. } => "slow_rate",
            Self::OverloadRate { .. } => "overload_rate",
            Self::OpenTimeOver => "open_time_over",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ProbesFailed => "probes_failed",
            Self::Operator => "operator",
        }
    }
}
