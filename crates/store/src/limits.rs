use std::time::Duration;

use backstay_core::Invalid;

use crate::batch::{Batch, Change, Expected};

/// How large what a store takes may be.
///
/// A batch is held in memory, written in one transaction and read back whole, so each has a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a name: of a stream, a key, a kind, a fence, a claim. 1 to 1,024; 255.
    pub name_bytes: usize,
    /// Bytes of an event's data, its metadata, or a value. 1 to 64 MiB; 1 MiB.
    pub value_bytes: usize,
    /// Events, puts, deletes and expectations of a batch. 1 to 100,000; 1,000.
    pub changes: usize,
    /// Bytes of all values of a batch. 1 to 256 MiB; 8 MiB.
    pub batch_bytes: usize,
}

/// A page of a reader.
pub(crate) const PAGE: std::ops::RangeInclusive<u32> = 1..=10_000;
/// A year: whoever needs longer means for ever.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);
const SHORTEST: Duration = Duration::from_millis(1);

impl Default for Limits {
    fn default() -> Self {
        Self {
            name_bytes: 255,
            value_bytes: 1 << 20,
            changes: 1_000,
            batch_bytes: 8 << 20,
        }
    }
}

impl Limits {
    /// Whether these limits can be used.
    ///
    /// # Errors
    ///
    /// Names the first that is out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        for (field, value, most) in [
            ("limits.name_bytes", self.name_bytes, 1_024),
            ("limits.value_bytes", self.value_bytes, 64 << 20),
            ("limits.changes", self.changes, 100_000),
            ("limits.batch_bytes", self.batch_bytes, 256 << 20),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Invalid::new(field, value, format!("must be in 1..={most}")));
            }
        }
        Ok(())
    }

    pub(crate) fn check(&self, batch: &Batch) -> Result<(), Invalid> {
        let (mut changes, mut bytes) = (0, 0);
        for change in &batch.changes {
            match change {
                Change::Append { stream, append } => {
                    self.check_name("stream", stream)?;
                    if append.events.is_empty() {
                        return Err(Invalid::new("append", "no event", "must have one or more"));
                    }
                    if let Expected::Exactly(version) = append.expected {
                        check_number("expected version", version.get())?;
                    }
                    for event in &append.events {
                        self.check_name("event.kind", &event.kind)?;
                        bytes += self.check_value("event.data", event.data.len())?;
                        bytes += self.check_value("event.metadata", event.metadata.len())?;
                    }
                    changes += append.events.len();
                }
                Change::Put { key, put } => {
                    self.check_name("key", key)?;
                    bytes += self.check_value("value", put.value.len())?;
                    if let Some(time) = put.expires_after {
                        check_time("expires_after", time)?;
                    }
                    if let Expected::Exactly(revision) = put.expected {
                        check_number("expected revision", revision.get())?;
                    }
                    changes += 1;
                }
                Change::Delete { key, expected } | Change::Expect { key, expected } => {
                    self.check_name("key", key)?;
                    if let Expected::Exactly(revision) = expected {
                        check_number("expected revision", revision.get())?;
                    }
                    changes += 1;
                }
            }
        }
        if let Some(fence) = &batch.fence {
            self.check_name("fence.name", &fence.name)?;
            check_number("fence.token", fence.token)?;
        }
        at_most("batch, changes", changes, self.changes)?;
        at_most("batch, bytes", bytes, self.batch_bytes)
    }

    /// Names are text without control characters, so that they can be shown and compared anywhere.
    pub(crate) fn check_name(&self, field: &str, name: &str) -> Result<(), Invalid> {
        let limit = || {
            format!(
                "must be 1 to {} bytes without control characters",
                self.name_bytes
            )
        };
        if name.is_empty() || name.len() > self.name_bytes || name.contains(char::is_control) {
            let shown: String = name.chars().take(40).collect();
            let value = format!("{shown:?}, {} bytes", name.len());
            return Err(Invalid::new(field, value, limit()));
        }
        Ok(())
    }

    fn check_value(&self, field: &str, bytes: usize) -> Result<usize, Invalid> {
        at_most(&format!("{field}, bytes"), bytes, self.value_bytes)?;
        Ok(bytes)
    }
}

pub(crate) fn check_time(field: &str, time: Duration) -> Result<(), Invalid> {
    if !(SHORTEST..=LONGEST).contains(&time) {
        let limit = "must be 1 ms to 366 days";
        return Err(Invalid::new(field, format!("{time:?}"), limit));
    }
    Ok(())
}

/// Databases count in signed numbers.
fn check_number(field: &str, number: u64) -> Result<(), Invalid> {
    if i64::try_from(number).is_err() {
        return Err(Invalid::new(
            field,
            number,
            format!("must be at most {}", i64::MAX),
        ));
    }
    Ok(())
}

fn at_most(field: &str, value: usize, most: usize) -> Result<(), Invalid> {
    if value > most {
        return Err(Invalid::new(
            field,
            value,
            format!("must be at most {most}"),
        ));
    }
    Ok(())
}
