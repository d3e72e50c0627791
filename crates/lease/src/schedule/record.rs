//! What the store keeps of a job: one key, changed before each firing and after it.

use backstay_store::Timestamp;
use serde::{Deserialize, Serialize};

use super::cron::Times;

const VERSION: u32 = 1;

/// How far a job has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    cron: String,
    zone: String,
    /// All that was due until here is decided: it has begun, or was skipped.
    through: u64,
    /// The firing that has begun and of which no end is known.
    running: Option<u64>,
    /// Of the leader who wrote this.
    token: u64,
}

/// The value is not one that this version has written.
#[derive(Debug, thiserror::Error)]
#[error("what is kept of the job can't be read")]
pub(super) struct Unreadable(#[source] Option<serde_json::Error>);

impl Record {
    /// Of a job that was not seen before.
    pub(super) fn new(times: &Times, now: Timestamp, token: u64) -> Self {
        Self {
            version: VERSION,
            cron: times.text().to_owned(),
            zone: times.zone().to_owned(),
            through: now.as_millis(),
            running: None,
            token,
        }
    }

    pub(super) fn read(value: &[u8]) -> Result<Self, Unreadable> {
        let record: Self =
            serde_json::from_slice(value).map_err(|error| Unreadable(Some(error)))?;
        if record.version != VERSION {
            return Err(Unreadable(None));
        }
        Ok(record)
    }

    pub(super) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers")
    }

    /// Whether it was written for these times.
    pub(super) fn is_of(&self, times: &Times) -> bool {
        self.cron == times.text() && self.zone == times.zone()
    }

    pub(super) fn through(&self) -> Timestamp {
        Timestamp::from_millis(self.through)
    }

    pub(super) fn running(&self) -> Option<Timestamp> {
        self.running.map(Timestamp::from_millis)
    }

    /// The same under other times, of which nothing before now is due.
    pub(super) fn changed(self, times: &Times, now: Timestamp, token: u64) -> Self {
        Self {
            running: self.running,
            ..Self::new(times, now.max(self.through()), token)
        }
    }

    /// Says that a firing begins, and that all before it is decided.
    pub(super) fn begins(self, due: Timestamp, token: u64) -> Self {
        Self {
            through: self.through.max(due.as_millis()),
            running: Some(due.as_millis()),
            token,
            ..self
        }
    }

    /// Says that all until here is decided.
    pub(super) fn skips(self, last: Timestamp, token: u64) -> Self {
        Self {
            through: self.through.max(last.as_millis()),
            token,
            ..self
        }
    }

    /// Says that nothing runs.
    pub(super) fn ended(self, token: u64) -> Self {
        Self {
            running: None,
            token,
            ..self
        }
    }
}
