use std::time::Duration;

use backstay_core::{Effect, Moment, Outcome};

use crate::clock;
use crate::key::Key;

/// One try of an operation, handed to the closure that makes it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub(crate) number: u32,
    pub(crate) deadline: Moment,
    pub(crate) key: Option<Key>,
}

impl Attempt {
    /// 1 for the first attempt of a call.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How long this attempt has left; none if nothing limits it.
    pub fn remaining(&self) -> Option<Duration> {
        (self.deadline != Moment::NEVER).then(|| self.deadline.since(clock::now()))
    }

    /// The call's idempotency key, the same for all its attempts.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }
}

/// What became of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRecord {
    /// 1 for the first.
    pub number: u32,
    /// From the start of the call to the start of the attempt.
    pub started_after: Duration,
    /// How long it took, until it ended or was given up.
    pub took: Duration,
    /// How long the call waited before it: in the queue for the first, for the backoff later.
    pub waited: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// What it may have done.
    pub effect: Effect,
    /// Sent beside another attempt that was late.
    pub hedge: bool,
}

/// The attempts of one call, in the order in which they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts(Vec<AttemptRecord>);

impl Attempts {
    /// The attempts, one after another.
    pub fn iter(&self) -> std::slice::Iter<'_, AttemptRecord> {
        self.0.iter()
    }

    /// How many there were.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no attempt was made.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, record: AttemptRecord) {
        self.0.push(record);
    }
}

impl<'a> IntoIterator for &'a Attempts {
    type Item = &'a AttemptRecord;
    type IntoIter = std::slice::Iter<'a, AttemptRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
