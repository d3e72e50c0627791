use std::time::Duration;

use backstay_core::Invalid;
use backstay_core::backoff::Backoff;

/// Options of retries: how often, and how long to wait before each.
///
/// Which failures are repeated is not an option: only what certainly had no effect, or anything transient when
/// the call is idempotent or carries a key. How much load they may add is the [`Budget`](crate::Budget)'s.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Retry {
    max_attempts: u32,
    backoff: Backoff,
    #[cfg_attr(feature = "config", serde(with = "backstay_core::duration_text"))]
    min_time: Duration,
}

/// Two repeats get past a restart of one replica and a lost packet; what fails three times is down.
const MAX_ATTEMPTS: u32 = 3;

/// With less than a timer's tick left no answer can come in time.
const MIN_TIME: Duration = Duration::from_millis(1);

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: MAX_ATTEMPTS,
            backoff: Backoff::default(),
            min_time: MIN_TIME,
        }
    }
}

impl Retry {
    /// Waits a random time of up to `base`, doubled with every retry, 2 s at most (full jitter).
    pub fn exponential(base: Duration) -> Self {
        Self::backoff(Backoff::full_jitter(base))
    }

    /// Waits as `backoff` says.
    pub fn backoff(backoff: Backoff) -> Self {
        Self {
            backoff,
            ..Self::default()
        }
    }

    /// Attempts of a call in all, hedges included. 1..=10; default 3.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Starts no attempt with less time left than this. 0..=1 h; default 1 ms.
    pub const fn min_time(mut self, time: Duration) -> Self {
        self.min_time = time;
        self
    }

    /// Refuses values out of range; `field` is where the options stand.
    pub fn validate(&self, field: &str) -> Result<(), Invalid> {
        if !(1..=10).contains(&self.max_attempts) {
            let field = format!("{field}.max_attempts");
            return Err(Invalid::new(field, self.max_attempts, "must be in 1..=10"));
        }
        if self.min_time > Duration::from_secs(3600) {
            let field = format!("{field}.min_time");
            return Err(Invalid::new(
                field,
                format!("{:?}", self.min_time),
                "must be at most 1h",
            ));
        }
        self.backoff.validate(&format!("{field}.backoff"))
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.max_attempts
    }

    pub(crate) fn waits(&self) -> &Backoff {
        &self.backoff
    }

    pub(crate) fn least_time(&self) -> Duration {
        self.min_time
    }
}
