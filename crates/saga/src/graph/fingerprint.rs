use std::fmt;

use serde::{Deserialize, Serialize};

use super::Graph;
use crate::hash;

/// The hash of a graph: two with the same one run the same instances.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// As hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Of the graph as it is stored, which has everything that the engine goes by and nothing that may be tuned.
pub(super) fn of(graph: &Graph) -> Fingerprint {
    let text = serde_json::to_vec(graph).unwrap_or_default();
    let mut digits = hash::hex(&[&text]);
    digits.truncate(16);
    Fingerprint(digits)
}
