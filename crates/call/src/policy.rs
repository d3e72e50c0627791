use std::fmt;

/// The policies of a pipeline, in the order in which a call passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Policy {
    /// The total time of a call.
    Deadline,
    /// The limit of calls in progress.
    Bulkhead,
    /// Repeating what failed.
    Retry,
    /// The limit of all extra attempts.
    Budget,
    /// A second attempt beside a slow one.
    Hedge,
    /// The circuit breaker.
    Breaker,
    /// The time of one attempt.
    AttemptTimeout,
}

impl Policy {
    /// The name in configuration, events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Bulkhead => "bulkhead",
            Self::Retry => "retry",
            Self::Budget => "budget",
            Self::Hedge => "hedge",
            Self::Breaker => "breaker",
            Self::AttemptTimeout => "attempt_timeout",
        }
    }

    pub(crate) const ALL: [Self; 7] = [
        Self::Deadline,
        Self::Bulkhead,
        Self::Retry,
        Self::Budget,
        Self::Hedge,
        Self::Breaker,
        Self::AttemptTimeout,
    ];
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policies(u8);

impl Policies {
    pub(crate) const fn has(self, policy: Policy) -> bool {
        self.0 & 1 << policy as u8 != 0
    }

    pub(crate) fn set(&mut self, policy: Policy, present: bool) {
        self.0 = self.0 & !(1 << policy as u8) | u8::from(present) << policy as u8;
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }
}

impl FromIterator<Policy> for Policies {
    fn from_iter<I: IntoIterator<Item = Policy>>(policies: I) -> Self {
        let mut set = Self::default();
        for policy in policies {
            set.set(policy, true);
        }
        set
    }
}
