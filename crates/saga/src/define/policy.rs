use std::time::Duration;

use backstay_core::Invalid;
use backstay_core::backoff::Backoff;

use crate::graph::Role;

/// A step's attempts: how many, and how long to wait between two.
///
/// What is known of them is in the log: a restart does not begin to count again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    attempts: u32,
    backoff: Backoff,
}

/// Before the pivot somebody waits, and there is a way back: about 11 s, so that a service can restart.
const FORWARD: Default = (8, Duration::from_millis(200), Duration::from_secs(10));
/// There is no other way: about 40 minutes, then a person has to look.
const ONWARD: Default = (40, Duration::from_millis(100), Duration::from_secs(120));

/// Attempts, and the backoff's base and cap.
type Default = (u32, Duration, Duration);

const MAX_ATTEMPTS: u32 = 1_000;
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

impl Retry {
    /// So many attempts at most, the first among them: 1 to 1,000.
    pub fn attempts(attempts: u32) -> Self {
        Self {
            attempts,
            ..Self::of(FORWARD)
        }
    }

    /// The waits between them. Default: full jitter, 200 ms doubled up to 10 s.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    fn of((attempts, base, cap): Default) -> Self {
        Self {
            attempts,
            backoff: Backoff::full_jitter(base).cap(cap),
        }
    }

    /// How long to wait after so many attempts, and the last wait; none if they were the last.
    pub(crate) fn wait(&self, attempts: u32, last: Duration, random: u64) -> Option<Duration> {
        let more = attempts < self.attempts;
        more.then(|| self.backoff.delay(attempts, last, random))
    }

    fn validate(&self, field: &str) -> Result<(), Invalid> {
        if !(1..=MAX_ATTEMPTS).contains(&self.attempts) {
            let limit = format!("must be in 1..={MAX_ATTEMPTS}");
            let field = format!("{field}.attempts");
            return Err(Invalid::new(field, self.attempts, limit));
        }
        self.backoff.validate(&format!("{field}.backoff"))
    }
}

/// How a step is called, which may change while instances are under way.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) undo_timeout: Duration,
    pub(crate) undo_retry: Retry,
}

/// Longer than a call that somebody waits for should take.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Policy {
    /// What a step does unless it says otherwise.
    pub(crate) fn of(role: Role) -> Self {
        let retry = match role {
            Role::Undo | Role::NothingToUndo => FORWARD,
            Role::Pivot | Role::UntilDone => ONWARD,
        };
        Self {
            timeout: TIMEOUT,
            retry: Retry::of(retry),
            undo_timeout: TIMEOUT,
            undo_retry: Retry::of(ONWARD),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        for (field, timeout) in [
            ("timeout", self.timeout),
            ("undo_timeout", self.undo_timeout),
        ] {
            if timeout < Duration::from_millis(1) || timeout > MAX_TIMEOUT {
                let limit = format!("must be in 1ms..={MAX_TIMEOUT:?}");
                return Err(Invalid::new(field, format!("{timeout:?}"), limit));
            }
        }
        self.retry.validate("retry")?;
        self.undo_retry.validate("undo_retry")
    }
}
