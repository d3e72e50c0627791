use std::time::Duration;

use backstay_core::Invalid;
use backstay_store::{Durability, Store};

/// How long an answer is kept: longer than anybody tries again, also from a queue that is worked off the next day.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Long against a pause of a process, short for somebody who waits for one that has died.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(30);

/// A run is renewed so often in its time: one renewal may fail.
const RENEWALS: u32 = 3;

/// What whoever met a running request is asked to wait. Most work takes less; it is the least that HTTP can say.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The shortest time after which a run may be taken over.
const SOONEST: Duration = Duration::from_millis(100);

const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How records are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) retention: Duration,
    pub(crate) take_over_after: Duration,
    pub(crate) volatile: Volatile,
}

/// Whether a store that ends with its process will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Volatile {
    Refused,
    Allowed,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retention: RETENTION,
            take_over_after: TAKE_OVER_AFTER,
            volatile: Volatile::Refused,
        }
    }
}

impl Options {
    pub(crate) fn renew_every(&self) -> Duration {
        self.take_over_after / RENEWALS
    }

    pub(crate) fn check(&self, store: &Store) -> Result<(), BuildError> {
        within("retention", self.retention, Duration::from_secs(1), LONGEST)?;
        if !(SOONEST..=self.retention).contains(&self.take_over_after) {
            let limit = format!(
                "must be at least {SOONEST:?} and at most the retention, {:?}",
                self.retention
            );
            let value = format!("{:?}", self.take_over_after);
            return Err(Invalid::new("take_over_after", value, limit).into());
        }
        let durability = store.capabilities().durability;
        if durability == Durability::None && self.volatile == Volatile::Refused {
            return Err(BuildError::Volatile);
        }
        Ok(())
    }
}

pub(crate) fn within(
    field: &str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), Invalid> {
    if !(least..=most).contains(&value) {
        let limit = format!("must be in {least:?}..={most:?}");
        return Err(Invalid::new(field, format!("{value:?}"), limit));
    }
    Ok(())
}

/// Why options can't be used with this store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An option is out of its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store ends with its process, and what was done once would be done again.
    #[error(
        "the store is not durable: it forgets what was done; `allow_volatile` takes it for tests"
    )]
    Volatile,
}
