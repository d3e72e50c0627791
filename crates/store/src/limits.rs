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
                        let field = format!("append to stream {stream:?}");
                        return Err(Invalid::new(field, "no event", "must have one or more"));
                    }
                    if let Expected::Exactly(version) = append.expected {
                        check_number("expected version", version.get())
                            .map_err(|invalid| of(invalid, "stream", stream))?;
                    }
                    for event in &append.events {
                        self.check_name("event.kind", &event.kind)?;
                        let of = |part| format!("{part} of {:?} for stream {stream:?}", event.kind);
                        bytes += self.check_value(|| of("data"), event.data.len())?;
                        bytes += self.check_value(|| of("metadata"), event.metadata.len())?;
                    }
                    changes += append.events.len();
                }
                Change::Put { key, put } => {
                    self.check_name("key", key)?;
                    bytes +=
                        self.check_value(|| format!("value of key {key:?}"), put.value.len())?;
                    if let Some(time) = put.expires_after {
                        check_time("expires_after", time)
                            .map_err(|invalid| of(invalid, "key", key))?;
                    }
                    if let Expected::Exactly(revision) = put.expected {
                        check_number("expected revision", revision.get())
                            .map_err(|invalid| of(invalid, "key", key))?;
                    }
                    changes += 1;
                }
                Change::Delete { key, expected } | Change::Expect { key, expected } => {
                    self.check_name("key", key)?;
                    if let Expected::Exactly(revision) = expected {
                        check_number("expected revision", revision.get())
                            .map_err(|invalid| of(invalid, "key", key))?;
                    }
                    changes += 1;
                }
            }
        }
        if let Some(fence) = &batch.fence {
            self.check_name("fence.name", &fence.name)?;
            check_number("fence.token", fence.token)?;
        }
        if changes > self.changes {
            let limit = at_most(self.changes, "changes");
            return Err(Invalid::new("batch, changes", changes, limit));
        }
        if bytes > self.batch_bytes {
            let limit = at_most(self.batch_bytes, "batch_bytes");
            return Err(Invalid::new("batch, bytes", bytes, limit));
        }
        Ok(())
    }

    /// Names are text without control characters, so that they can be shown and compared anywhere.
    pub(crate) fn check_name(&self, field: &str, name: &str) -> Result<(), Invalid> {
        let limit = || {
            format!(
                "must be 1 to {} bytes (limits.name_bytes) without control characters",
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

    fn check_value(&self, item: impl Fn() -> String, bytes: usize) -> Result<usize, Invalid> {
        if bytes > self.value_bytes {
            let limit = at_most(self.value_bytes, "value_bytes");
            return Err(Invalid::new(format!("{}, bytes", item()), bytes, limit));
        }
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

/// Says of which stream or key.
fn of(mut invalid: Invalid, what: &str, name: &str) -> Invalid {
    invalid.field = format!("{} of {what} {name:?}", invalid.field);
    invalid
}

fn at_most(most: usize, option: &str) -> String {
    format!("must be at most {most} (limits.{option})")
}
