use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of a source's history a copy holds.
///
/// Versions are ordered: a later epoch is above every version of an earlier one, whatever its number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Version {
    /// Which history: it grows where a source has gone back and begins another, as after a restore from a backup.
    pub epoch: u64,
    /// The place in that history.
    pub number: u64,
}

impl Version {
    /// A place in a history.
    pub const fn new(epoch: u64, number: u64) -> Self {
        Self { epoch, number }
    }

    /// Another place in the same history.
    #[must_use]
    pub const fn at(self, number: u64) -> Self {
        Self { number, ..self }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}
