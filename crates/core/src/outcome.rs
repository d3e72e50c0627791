//! The words every policy shares: what an attempt's end means, and what it may have done.

use std::time::Duration;

/// What a failed attempt did to the world, as far as anybody can know.
///
/// Ordered by how much may have happened, so that the effect of a call is the greatest of its attempts'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Certainly nothing happened: the request was refused or never arrived.
    NotExecuted,
    /// It may have happened: a time-out, a broken connection, a crash.
    Unknown,
    /// It happened, though the answer was an error.
    Executed,
}

/// What an overloaded dependency said about coming back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pushback {
    /// Nothing: the caller's own backoff decides.
    #[default]
    Unstated,
    /// Not before this long.
    After(Duration),
    /// Not at all for this call.
    Never,
}

/// What the end of an attempt means. Every policy reads this one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// It worked.
    Success,
    /// The caller's own fault (a 404, a refused validation): no failure of the dependency, never retried.
    Ignored(Effect),
    /// A failure that may pass: retried as far as the effect, the budget and the deadline allow.
    Transient(Effect),
    /// The dependency says that it has too much to do.
    Overloaded {
        /// What the attempt did.
        effect: Effect,
        /// When to come back.
        pushback: Pushback,
    },
    /// A failure that repeating won't mend: counted, never retried.
    Permanent(Effect),
}

impl Class {
    /// What the attempt did; a success was executed.
    pub const fn effect(self) -> Effect {
        match self {
            Self::Success => Effect::Executed,
            Self::Ignored(effect)
            | Self::Transient(effect)
            | Self::Permanent(effect)
            | Self::Overloaded { effect, .. } => effect,
        }
    }

    /// How the policies count it.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Success => Outcome::Success,
            Self::Ignored(_) => Outcome::Ignored,
            Self::Transient(_) | Self::Permanent(_) => Outcome::Failure(Fault::Error),
            Self::Overloaded { .. } => Outcome::Failure(Fault::Overloaded),
        }
    }
}

/// The four ways an attempt ends, as the policies count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It worked.
    Success,
    /// The dependency failed.
    Failure(Fault),
    /// It says nothing about the dependency.
    Ignored,
    /// Nobody waited for its end.
    Abandoned(Abandoned),
}

/// Which kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An error, a panic, a broken connection.
    Error,
    /// A refusal by a dependency that is alive and has too much to do.
    Overloaded,
}

/// Why nobody waited for an attempt's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Abandoned {
    /// The caller dropped the call.
    CallerGone,
    /// Its time was up: counted as a failure of the dependency.
    DeadlinePassed,
    /// Another attempt of the same call won.
    LostRace,
    /// The process is stopping.
    ShuttingDown,
}
