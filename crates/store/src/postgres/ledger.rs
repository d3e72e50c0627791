//! What each kind of write comes to. Nothing in here waits.
//!
//! While the store's lock is held nobody else writes, so what was read of the tables stays true, and all of a group is
//! decided in memory: a batch that is refused leaves nothing behind, and those around it do not notice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;

use crate::batch::Change;
use crate::claim::{fence_name, next_epoch};
use crate::{
    Append, Batch, BatchId, Claim, ClaimError, Commit, CommitError, Conflict, Event, Expected,
    Fence, Owner, Position, Put, Timestamp, Version,
};

/// Names whose state has to be known before a group is decided.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) commits: HashSet<BatchId>,
    pub(super) streams: HashSet<String>,
    pub(super) keys: HashSet<String>,
    pub(super) fences: HashSet<String>,
    pub(super) claims: HashSet<String>,
}

impl Needs {
    pub(super) fn batch(&mut self, batch: &Batch) {
        self.commits.insert(batch.id);
        self.fences
            .extend(batch.fence.iter().map(|fence| fence.name.clone()));
        for change in &batch.changes {
            match change {
                Change::Append { stream, .. } => self.streams.insert(stream.clone()),
                Change::Put { key, .. }
                | Change::Delete { key, .. }
                | Change::Expect { key, .. } => self.keys.insert(key.clone()),
            };
        }
    }

    pub(super) fn claim(&mut self, name: &str) {
        self.claims.insert(name.to_owned());
        self.fences.insert(fence_name(name));
    }
}

/// A stream, by the position of its first event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) id: Position,
    pub(super) version: Version,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Neither deleted nor swept.
    pub(super) has_value: bool,
    pub(super) revision: Position,
    pub(super) expires_at: Option<Timestamp>,
}

/// An event that is to be written.
#[derive(Debug)]
pub(super) struct NewEvent {
    pub(super) position: Position,
    pub(super) stream: Position,
    pub(super) version: Version,
    pub(super) event: Event,
}

/// What a group has changed, or one batch of it.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) events: Vec<NewEvent>,
    pub(super) streams: HashMap<String, Stream>,
    pub(super) keys: HashMap<String, (Key, Option<Bytes>)>,
    pub(super) fences: HashMap<String, u64>,
    pub(super) claims: HashMap<String, Claim>,
    /// Their batches, and the positions of their first and last changes.
    pub(super) commits: Vec<(BatchId, Position, Position)>,
}

/// What the tables say of the names that a group needs, with what the group has changed so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The store's clock, the same for all of the group.
    pub(super) now: Timestamp,
    pub(super) head: Position,
    pub(super) commits: HashMap<BatchId, Commit>,
    pub(super) streams: HashMap<String, Stream>,
    pub(super) keys: HashMap<String, Key>,
    pub(super) fences: HashMap<String, u64>,
    pub(super) claims: HashMap<String, Claim>,
    pub(super) changes: Changes,
}

impl Ledger {
    pub(super) fn has_changed(&self) -> bool {
        !(self.changes.commits.is_empty() && self.changes.claims.is_empty())
    }

    /// Applies a batch, or finds that it was applied before.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<Commit, CommitError> {
        if let Some(commit) = self.commits.get(&batch.id) {
            return Ok(commit.clone());
        }
        let mut draft = Draft {
            ledger: self,
            head: self.head,
            changes: Changes::default(),
        };
        let (versions, revisions) = draft.apply(batch)?;
        let Draft { head, changes, .. } = draft;
        let commit = Commit::new(batch.id, head, versions, revisions);
        self.take(batch.id, head, changes);
        self.commits.insert(batch.id, commit.clone());
        Ok(commit)
    }

    fn take(&mut self, id: BatchId, head: Position, batch: Changes) {
        let all = &mut self.changes;
        all.commits.push((id, self.head.next(), head));
        self.head = head;
        all.events.extend(batch.events);
        self.streams.extend(batch.streams.clone());
        all.streams.extend(batch.streams);
        let keys = batch
            .keys
            .iter()
            .map(|(name, (key, _))| (name.clone(), *key));
        self.keys.extend(keys);
        all.keys.extend(batch.keys);
        self.fences.extend(batch.fences.clone());
        all.fences.extend(batch.fences);
    }

    /// Takes a name that nobody holds, and raises its fence.
    pub(super) fn claim(
        &mut self,
        name: &str,
        owner: Owner,
        ttl: Duration,
    ) -> Result<Claim, ClaimError> {
        let last = self.claims.get(name);
        last.map_or(Ok(()), |last| last.ensure_over(self.now))?;
        let fence = fence_name(name);
        let highest = self.fences.get(&fence).copied().unwrap_or_default();
        let claim = Claim {
            name: name.to_owned(),
            owner,
            epoch: next_epoch(last.map_or(0, |last| last.epoch), highest)?,
            expires_at: self.now.plus(ttl),
        };
        self.fences.insert(fence.clone(), claim.epoch);
        self.changes.fences.insert(fence, claim.epoch);
        self.hold(claim.clone());
        Ok(claim)
    }

    /// Holds a claim for longer, if it is still held.
    pub(super) fn renew(&mut self, claim: &Claim, ttl: Duration) -> Result<Claim, ClaimError> {
        if !self.is_held(claim) {
            return Err(ClaimError::Lost {
                name: claim.name.clone(),
                epoch: claim.epoch,
            });
        }
        let renewed = Claim {
            expires_at: self.now.plus(ttl),
            ..claim.clone()
        };
        self.hold(renewed.clone());
        Ok(renewed)
    }

    /// Gives a claim up, if it is still held.
    pub(super) fn release(&mut self, claim: &Claim) -> bool {
        let is_held = self.is_held(claim);
        if is_held {
            self.hold(Claim {
                expires_at: self.now,
                ..claim.clone()
            });
        }
        is_held
    }

    fn is_held(&self, claim: &Claim) -> bool {
        self.claims.get(&claim.name).is_some_and(|held| {
            (held.owner, held.epoch) == (claim.owner, claim.epoch) && self.now < held.expires_at
        })
    }

    fn hold(&mut self, claim: Claim) {
        self.claims.insert(claim.name.clone(), claim.clone());
        self.changes.claims.insert(claim.name.clone(), claim);
    }
}

/// One batch on top of the ledger, dropped if it is refused.
struct Draft<'l> {
    ledger: &'l Ledger,
    head: Position,
    changes: Changes,
}

type Applied = (BTreeMap<String, Version>, BTreeMap<String, Position>);

impl Draft<'_> {
    fn apply(&mut self, batch: &Batch) -> Result<Applied, CommitError> {
        if let Some(fence) = &batch.fence {
            self.pass(fence)?;
        }
        let (mut versions, mut revisions) = Applied::default();
        for change in &batch.changes {
            match change {
                Change::Append { stream, append } => {
                    versions.insert(stream.clone(), self.append(stream, append)?);
                }
                Change::Put { key, put } => {
                    revisions.insert(key.clone(), self.put(key, put)?);
                }
                Change::Delete { key, expected } => {
                    if self.expect_key(key, *expected)? {
                        self.change(key, None, None);
                    }
                    revisions.remove(key);
                }
                Change::Expect { key, expected } => {
                    self.expect_key(key, *expected)?;
                }
            }
        }
        Ok((versions, revisions))
    }

    fn pass(&mut self, fence: &Fence) -> Result<(), CommitError> {
        let highest = self
            .ledger
            .fences
            .get(&fence.name)
            .copied()
            .unwrap_or_default();
        if fence.token < highest {
            return Err(CommitError::Fenced {
                name: fence.name.clone(),
                token: fence.token,
                highest,
            });
        }
        if fence.token > highest {
            self.changes.fences.insert(fence.name.clone(), fence.token);
        }
        Ok(())
    }

    fn append(&mut self, name: &str, append: &Append) -> Result<Version, CommitError> {
        let known = self.changes.streams.get(name);
        let known = known.or_else(|| self.ledger.streams.get(name)).copied();
        let mut stream = known.unwrap_or(Stream {
            id: self.head.next(),
            version: Version::START,
        });
        Conflict::with_stream(name, append.expected, stream.version)
            .map_err(CommitError::Conflict)?;
        for event in &append.events {
            stream.version = stream.version.next();
            self.head = self.head.next();
            self.changes.events.push(NewEvent {
                position: self.head,
                stream: stream.id,
                version: stream.version,
                event: event.clone(),
            });
        }
        self.changes.streams.insert(name.to_owned(), stream);
        Ok(stream.version)
    }

    fn put(&mut self, key: &str, put: &Put) -> Result<Position, CommitError> {
        self.expect_key(key, put.expected)?;
        let expires_at = put.expires_after.map(|after| self.ledger.now.plus(after));
        Ok(self.change(key, Some(put.value.clone()), expires_at))
    }

    /// Whether the key is there, if that is as expected.
    fn expect_key(&self, name: &str, expected: Expected<Position>) -> Result<bool, CommitError> {
        let changed = self.changes.keys.get(name).map(|(key, _)| key);
        let known = changed.or_else(|| self.ledger.keys.get(name));
        let there = known
            .filter(|key| key.has_value && key.expires_at.is_none_or(|at| self.ledger.now < at));
        let revision = there.map(|key| key.revision);
        Conflict::with_key(name, expected, revision).map_err(CommitError::Conflict)?;
        Ok(revision.is_some())
    }

    fn change(
        &mut self,
        name: &str,
        value: Option<Bytes>,
        expires_at: Option<Timestamp>,
    ) -> Position {
        self.head = self.head.next();
        let key = Key {
            has_value: value.is_some(),
            revision: self.head,
            expires_at,
        };
        self.changes.keys.insert(name.to_owned(), (key, value));
        self.head
    }
}
