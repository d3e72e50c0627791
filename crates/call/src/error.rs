use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::breaker::Phase;
use backstay_core::bulkhead::Refusal;
use backstay_core::{Class, Effect, Invalid, Outcome};

use crate::attempt::Attempts;
use crate::policy::Policy;

/// A call that failed: why, what it may have done, and what was tried.
#[derive(Debug)]
pub struct CallError<E> {
    pub(crate) pipeline: Arc<str>,
    pub(crate) reason: Reason<E>,
    pub(crate) stop: Stop,
    pub(crate) effect: Effect,
    pub(crate) attempts: Attempts,
}

/// What a failed call ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason<E> {
    /// The operation's own error, of the last attempt that ended.
    Operation(E),
    /// Time was up while the last attempt ran.
    TimedOut,
    /// A policy refused it before anything was sent.
    Rejected(Rejected),
}

/// A refusal by one of our own policies. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// The circuit breaker lets no call pass.
    #[error("the circuit breaker is {}", phase_name(*.phase))]
    BreakerOpen {
        /// Open, or half-open with all probes under way.
        phase: Phase,
        /// When it makes sense to ask again, where that is known.
        retry_after: Option<Duration>,
    },
    /// The bulkhead has no place, or none in time.
    #[error("the bulkhead refuses: {refusal}")]
    Bulkhead {
        /// Why.
        refusal: Refusal,
        /// When a place is likely to be free.
        retry_after: Option<Duration>,
    },
    /// The time was over before anything could be sent.
    #[error("the deadline has passed")]
    DeadlinePassed,
    /// The idempotency key can't be sent.
    #[error(transparent)]
    Key(Box<Invalid>),
}

impl Rejected {
    /// The policy that refused.
    pub fn by(&self) -> Option<Policy> {
        match self {
            Self::BreakerOpen { .. } => Some(Policy::Breaker),
            Self::Bulkhead { .. } => Some(Policy::Bulkhead),
            Self::DeadlinePassed => Some(Policy::Deadline),
            Self::Key(_) => None,
        }
    }

    /// When it makes sense to come back, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BreakerOpen { retry_after, .. } | Self::Bulkhead { retry_after, .. } => {
                *retry_after
            }
            Self::DeadlinePassed | Self::Key(_) => None,
        }
    }
}

/// Why a call made no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// It worked.
    Succeeded,
    /// The last failure is one that repeating does not mend.
    Permanent,
    /// The last attempt may have had an effect, and the call is neither idempotent nor keyed.
    Effect,
    /// The budget for extra load is used up.
    Budget,
    /// Another attempt would not end in time.
    Deadline,
    /// All attempts are used up.
    Attempts,
    /// A policy refused the next attempt.
    Rejected,
    /// The dependency asked to leave it alone, or for longer than there is time.
    Pushback,
}

impl Stop {
    /// The name in events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Permanent => "permanent",
            Self::Effect => "effect",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Attempts => "attempts",
            Self::Rejected => "rejected",
            Self::Pushback => "pushback",
        }
    }
}

impl<E> CallError<E> {
    /// The name of the pipeline whose call failed.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// What the call ended with.
    pub fn reason(&self) -> &Reason<E> {
        &self.reason
    }

    /// What the call ended with, taken out.
    pub fn into_reason(self) -> Reason<E> {
        self.reason
    }

    /// The operation's own error, if the call ended with one.
    pub fn operation(&self) -> Option<&E> {
        match &self.reason {
            Reason::Operation(error) => Some(error),
            Reason::TimedOut | Reason::Rejected(_) => None,
        }
    }

    /// The refusal, if a policy refused the call before anything was sent.
    pub fn rejected(&self) -> Option<&Rejected> {
        match &self.reason {
            Reason::Rejected(rejected) => Some(rejected),
            Reason::Operation(_) | Reason::TimedOut => None,
        }
    }

    /// The most that any of the attempts may have done.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Why no further attempt was made.
    pub fn stop(&self) -> Stop {
        self.stop
    }

    /// The attempts in the order in which they ended.
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// What this failure means to a pipeline around this one; [`Nested`](crate::Nested) classifies by it.
    ///
    /// A refusal of ours says nothing about the dependency, and repeating it at once would not help.
    pub fn class(&self) -> Class {
        let last = self.attempts.iter().last().map(|attempt| attempt.outcome);
        match (&self.reason, self.stop) {
            (Reason::Rejected(_), _) => Class::Ignored(Effect::NotExecuted),
            _ if last == Some(Outcome::Ignored) => Class::Ignored(self.effect),
            (_, Stop::Permanent) => Class::Permanent(self.effect),
            _ => Class::Transient(self.effect),
        }
    }

    /// When it makes sense to come back, where a refusal knows it.
    pub fn retry_after(&self) -> Option<Duration> {
        self.rejected().and_then(Rejected::retry_after)
    }
}

impl<E> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pipeline, stop) = (&self.pipeline, self.stop.name());
        let what = match &self.reason {
            Reason::Operation(_) => "failed",
            Reason::TimedOut => "timed out",
            // Nothing was sent, so there are no attempts to count.
            Reason::Rejected(rejected) => return write!(f, "{pipeline}: {rejected}"),
        };
        let attempts = self.attempts.len();
        let s = if attempts == 1 { "" } else { "s" };
        write!(
            f,
            "{pipeline}: {what} after {attempts} attempt{s} (stop: {stop})"
        )
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.operation()
            .map(|error| error as &(dyn Error + 'static))
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Open => "open",
        Phase::HalfOpen => "half-open, all its probes under way",
        Phase::Closed => "closed",
    }
}
