use std::time::Duration;

use crate::Invalid;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How long a lost node's work rests until another takes it.
    pub(crate) ttl: Duration,
    /// So often an event is tried before it is set aside.
    pub(crate) attempts: u32,
    /// As many events may be set aside at once; then nothing goes on until some are replayed or skipped.
    pub(crate) dead_limit: u32,
    /// Takes no claim: each process has its own sink.
    pub(crate) is_own: bool,
}

const TTL: Duration = Duration::from_secs(10);
/// Some three seconds: longer than a deadlock lasts, shorter than anybody waits for what is behind.
const ATTEMPTS: u32 = 6;
/// More is not one bad event, but bad code.
const DEAD_LIMIT: u32 = 10_000;

impl Default for Options {
    fn default() -> Self {
        Self {
            ttl: TTL,
            attempts: ATTEMPTS,
            dead_limit: DEAD_LIMIT,
            is_own: false,
        }
    }
}

impl Options {
    pub(crate) fn validate(&self) -> Result<(), Invalid> {
        let ttl = Duration::from_millis(300)..=Duration::from_secs(3_600);
        if !ttl.contains(&self.ttl) {
            let limit = format!("must be in {:?}..={:?}", ttl.start(), ttl.end());
            return Err(Invalid::new("ttl", format!("{:?}", self.ttl), limit));
        }
        if !(1..=100).contains(&self.attempts) {
            return Err(Invalid::new(
                "attempts",
                self.attempts,
                "must be in 1..=100",
            ));
        }
        if !(1..=1_000_000).contains(&self.dead_limit) {
            let limit = "must be in 1..=1000000";
            return Err(Invalid::new("dead_limit", self.dead_limit, limit));
        }
        Ok(())
    }

    /// Between two attempts of the same.
    pub(crate) fn rest(attempt: u32) -> Duration {
        let rest = FIRST_REST * 2_u32.saturating_pow(attempt.saturating_sub(1).min(8));
        rest.min(LONGEST_REST).mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(5);
