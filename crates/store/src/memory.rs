//! A store that ends with its process.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::ready;
use tokio::sync::watch;

use crate::batch::{Change as Wanted, Expected};
use crate::claim::{fence_name, next_epoch};
use crate::clock::Clock;
use crate::{
    Append, Backend, Batch, BatchId, Capabilities, Change, Claim, ClaimError, Commit, CommitError,
    Conflict, Durability, Entry, Fence, Owner, Pending, Position, Put, Recorded, Store, Timestamp,
    Version,
};

/// A store in memory: for tests, simulations, and what may be lost.
///
/// It never forgets a commit's id or a deletion, so it grows with every commit.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    held: Mutex<Held>,
    changed: watch::Sender<u64>,
}

impl MemoryStore {
    /// An empty store.
    #[expect(
        clippy::new_without_default,
        reason = "a store that came from nowhere would be an empty one by accident"
    )]
    pub fn new() -> Self {
        Self {
            clock: Clock::default(),
            held: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// An empty store that reads this clock.
    #[cfg(feature = "test-util")]
    pub fn with_clock(clock: crate::TestClock) -> Self {
        Self {
            clock: Clock::of_test(clock),
            ..Self::new()
        }
    }

    /// The store as its users see it.
    pub fn into_store(self) -> Store {
        Store::new(self)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing in here runs code of others, so nothing panics half way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store and the time, which never goes back.
    fn at_work(&self) -> (MutexGuard<'_, Held>, Timestamp) {
        let held = self.lock();
        let now = self.clock.now();
        (held, now)
    }
}

impl From<MemoryStore> for Store {
    fn from(store: MemoryStore) -> Self {
        store.into_store()
    }
}

#[derive(Debug, Default)]
struct Held {
    head: Position,
    events: Vec<Recorded>,
    /// Where the events of each stream lie among all.
    streams: HashMap<String, Vec<usize>>,
    keys: BTreeMap<String, Key>,
    fences: HashMap<String, u64>,
    claims: HashMap<String, Claim>,
    commits: HashMap<BatchId, Commit>,
}

#[derive(Clone, Debug)]
struct Key {
    value: Option<bytes::Bytes>,
    revision: Position,
    expires_at: Option<Timestamp>,
}

impl Key {
    fn is_there(&self, now: Timestamp) -> bool {
        self.value.is_some() && self.expires_at.is_none_or(|at| now < at)
    }

    fn has_expired(&self, now: Timestamp) -> bool {
        self.value.is_some() && !self.is_there(now)
    }
}

/// What was there before a batch, in case it can't be applied.
struct Before {
    head: Position,
    events: usize,
    streams: Vec<(String, usize)>,
    keys: Vec<(String, Option<Key>)>,
    fence: Option<(String, Option<u64>)>,
}

impl Held {
    fn commit(&mut self, batch: Batch, now: Timestamp) -> Result<Commit, CommitError> {
        if let Some(commit) = self.commits.get(&batch.id) {
            return Ok(commit.clone());
        }
        let before = self.before(&batch);
        let id = batch.id;
        let applied = self.apply(batch, now);
        match &applied {
            Ok(commit) => drop(self.commits.insert(id, commit.clone())),
            Err(_) => self.restore(before),
        }
        applied
    }

    /// All that a batch may change.
    fn before(&self, batch: &Batch) -> Before {
        let mut before = Before {
            head: self.head,
            events: self.events.len(),
            streams: Vec::new(),
            keys: Vec::new(),
            fence: None,
        };
        for change in &batch.changes {
            match change {
                Wanted::Append { stream, .. } => {
                    let length = self.streams.get(stream).map_or(0, Vec::len);
                    before.streams.push((stream.clone(), length));
                }
                Wanted::Put { key, .. } | Wanted::Delete { key, .. } => {
                    let held = self.keys.get(key).cloned();
                    before.keys.push((key.clone(), held));
                }
                Wanted::Expect { .. } => {}
            }
        }
        if let Some(Fence { name, .. }) = &batch.fence {
            before.fence = Some((name.clone(), self.fences.get(name).copied()));
        }
        before
    }

    fn restore(&mut self, before: Before) {
        self.head = before.head;
        self.events.truncate(before.events);
        for (stream, length) in before.streams {
            self.streams.entry(stream).or_default().truncate(length);
        }
        for (key, held) in before.keys {
            match held {
                Some(held) => self.keys.insert(key, held),
                None => self.keys.remove(&key),
            };
        }
        if let Some((name, token)) = before.fence {
            match token {
                Some(token) => self.fences.insert(name, token),
                None => self.fences.remove(&name),
            };
        }
    }

    fn apply(&mut self, batch: Batch, now: Timestamp) -> Result<Commit, CommitError> {
        if let Some(fence) = &batch.fence {
            self.pass(fence)?;
        }
        let (mut versions, mut revisions) = (BTreeMap::new(), BTreeMap::new());
        for change in batch.changes {
            match change {
                Wanted::Append { stream, append } => {
                    let version = self.append(&stream, append, now)?;
                    versions.insert(stream, version);
                }
                Wanted::Put { key, put } => {
                    let revision = self.put(&key, put, now)?;
                    revisions.insert(key, revision);
                }
                Wanted::Delete { key, expected } => {
                    self.delete(&key, expected, now)?;
                    revisions.remove(&key);
                }
                Wanted::Expect { key, expected } => {
                    self.expect_key(&key, expected, now)?;
                }
            }
        }
        Ok(Commit::new(batch.id, self.head, versions, revisions))
    }

    fn pass(&mut self, fence: &Fence) -> Result<(), CommitError> {
        let highest = self.fences.entry(fence.name.clone()).or_default();
        if fence.token < *highest {
            return Err(CommitError::Fenced {
                name: fence.name.clone(),
                token: fence.token,
                highest: *highest,
            });
        }
        *highest = fence.token;
        Ok(())
    }

    fn append(
        &mut self,
        stream: &str,
        append: Append,
        at: Timestamp,
    ) -> Result<Version, CommitError> {
        let places = self.streams.entry(stream.to_owned()).or_default();
        let mut version = Version::new(places.len() as u64);
        Conflict::with_stream(stream, append.expected, version).map_err(CommitError::Conflict)?;
        for event in append.events {
            version = version.next();
            self.head = self.head.next();
            places.push(self.events.len());
            self.events.push(Recorded {
                position: self.head,
                stream: stream.to_owned(),
                version,
                kind: event.kind,
                data: event.data,
                metadata: event.metadata,
                at,
            });
        }
        Ok(version)
    }

    fn put(&mut self, key: &str, put: Put, now: Timestamp) -> Result<Position, CommitError> {
        self.expect_key(key, put.expected, now)?;
        let expires_at = put.expires_after.map(|after| now.plus(after));
        Ok(self.change(key, Some(put.value), expires_at))
    }

    fn delete(
        &mut self,
        key: &str,
        expected: Expected<Position>,
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let there = self.expect_key(key, expected, now)?;
        if there.is_some() {
            self.change(key, None, None);
        }
        Ok(())
    }

    fn expect_key(
        &self,
        key: &str,
        expected: Expected<Position>,
        now: Timestamp,
    ) -> Result<Option<Position>, CommitError> {
        let there = self.keys.get(key).filter(|key| key.is_there(now));
        let revision = there.map(|key| key.revision);
        Conflict::with_key(key, expected, revision).map_err(CommitError::Conflict)?;
        Ok(revision)
    }

    fn change(
        &mut self,
        key: &str,
        value: Option<bytes::Bytes>,
        expires_at: Option<Timestamp>,
    ) -> Position {
        self.head = self.head.next();
        let revision = self.head;
        let changed = Key {
            value,
            revision,
            expires_at,
        };
        self.keys.insert(key.to_owned(), changed);
        revision
    }

    fn claim(
        &mut self,
        name: String,
        owner: Owner,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Claim, ClaimError> {
        let last = self.claims.get(&name);
        last.map_or(Ok(()), |last| last.ensure_over(now))?;
        let last = last.map_or(0, |last| last.epoch);
        let fence = fence_name(&name);
        let highest = self.fences.get(&fence).copied().unwrap_or_default();
        let claim = Claim {
            epoch: next_epoch(last, highest)?,
            owner,
            expires_at: now.plus(ttl),
            name: name.clone(),
        };
        self.fences.insert(fence, claim.epoch);
        self.claims.insert(name, claim.clone());
        Ok(claim)
    }

    /// The claim of this very holding, as long as it lasts.
    fn holding(&mut self, claim: &Claim, now: Timestamp) -> Option<&mut Claim> {
        let held = self.claims.get_mut(&claim.name)?;
        let same = (held.owner, held.epoch) == (claim.owner, claim.epoch);
        (same && now < held.expires_at).then_some(held)
    }
}

/// What a method that can be answered at once returns.
fn at_once<'a, T: Send + 'a, E: Send + 'a>(answer: Result<T, E>) -> Pending<'a, T, E> {
    ready(answer).boxed()
}

impl Backend for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::None)
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        let (mut held, now) = self.at_work();
        let committed = held.commit(batch, now);
        if committed.is_ok() {
            self.changed.send_replace(held.head.get());
        }
        drop(held);
        at_once(committed)
    }

    fn find(&self, id: BatchId) -> Pending<'_, Option<Commit>> {
        at_once(Ok(self.lock().commits.get(&id).cloned()))
    }

    fn head(&self) -> Pending<'_, Position> {
        at_once(Ok(self.lock().head))
    }

    fn read(&self, stream: String, after: Version, limit: u32) -> Pending<'_, Vec<Recorded>> {
        let held = self.lock();
        let places = held.streams.get(&stream).map_or(&[][..], Vec::as_slice);
        let from = usize::try_from(after.get()).unwrap_or(usize::MAX);
        let wanted = places.iter().skip(from).take(limit as usize);
        let events = wanted.map(|place| held.events[*place].clone()).collect();
        at_once(Ok(events))
    }

    fn read_all(&self, after: Position, limit: u32) -> Pending<'_, Vec<Recorded>> {
        let held = self.lock();
        let from = held.events.partition_point(|event| event.position <= after);
        let wanted = held.events[from..].iter().take(limit as usize);
        at_once(Ok(wanted.cloned().collect()))
    }

    fn get(&self, key: String) -> Pending<'_, Option<Entry>> {
        let (held, now) = self.at_work();
        let found = held.keys.get(&key).and_then(|held| entry(&key, held, now));
        at_once(Ok(found))
    }

    fn list(&self, prefix: String, after: String, limit: u32) -> Pending<'_, Vec<Entry>> {
        let (held, now) = self.at_work();
        let from = if after < prefix {
            Bound::Included(&prefix)
        } else {
            Bound::Excluded(&after)
        };
        let entries = held
            .keys
            .range::<String, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter_map(|(key, held)| entry(key, held, now))
            .take(limit as usize)
            .collect();
        at_once(Ok(entries))
    }

    fn changes(
        &self,
        prefix: String,
        after: Position,
        limit: u32,
    ) -> Pending<'_, Result<Vec<Change>, Position>> {
        let held = self.lock();
        let mut changes: Vec<Change> = held
            .keys
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter(|(_, held)| held.revision > after)
            .map(|(key, held)| Change {
                key: key.clone(),
                value: held.value.clone(),
                revision: held.revision,
            })
            .collect();
        changes.sort_unstable_by_key(|change| change.revision);
        changes.truncate(limit as usize);
        at_once(Ok(Ok(changes)))
    }

    fn claim(&self, name: String, owner: Owner, ttl: Duration) -> Pending<'_, Claim, ClaimError> {
        let (mut held, now) = self.at_work();
        at_once(held.claim(name, owner, ttl, now))
    }

    fn renew(&self, claim: Claim, ttl: Duration) -> Pending<'_, Claim, ClaimError> {
        let (mut held, now) = self.at_work();
        let renewed = held.holding(&claim, now).map(|held| {
            held.expires_at = now.plus(ttl);
            held.clone()
        });
        at_once(renewed.ok_or(ClaimError::Lost {
            name: claim.name,
            epoch: claim.epoch,
        }))
    }

    fn release(&self, claim: Claim) -> Pending<'_, bool> {
        let (mut held, now) = self.at_work();
        let holding = held.holding(&claim, now);
        let was_held = holding.is_some();
        if let Some(holding) = holding {
            holding.expires_at = now;
        }
        at_once(Ok(was_held))
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Claim>> {
        let (held, now) = self.at_work();
        let claim = held.claims.get(&name);
        at_once(Ok(claim.filter(|claim| now < claim.expires_at).cloned()))
    }

    fn has_expired(&self) -> Pending<'_, bool> {
        let (held, now) = self.at_work();
        let mut keys = held.keys.values();
        at_once(Ok(keys.any(|key| key.has_expired(now))))
    }

    fn sweep(&self) -> Pending<'_, u64> {
        let (mut held, now) = self.at_work();
        let expired: Vec<String> = held
            .keys
            .iter()
            .filter(|(_, key)| key.has_expired(now))
            .map(|(name, _)| name.clone())
            .collect();
        for key in &expired {
            held.change(key, None, None);
        }
        if !expired.is_empty() {
            self.changed.send_replace(held.head.get());
        }
        at_once(Ok(expired.len() as u64))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn entry(key: &str, held: &Key, now: Timestamp) -> Option<Entry> {
    let value = held.value.clone().filter(|_| held.is_there(now))?;
    Some(Entry {
        key: key.to_owned(),
        value,
        revision: held.revision,
        expires_at: held.expires_at,
    })
}
