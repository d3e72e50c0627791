//! Events that were set aside, and what a person says of them.

use std::collections::{BTreeSet, HashMap};

use backstay_store::{
    Batch, Cause, Change, CommitError, Effect, Entry, Expected, Fence, Position, Put, Store,
    Unavailable, Version,
};
use serde::{Deserialize, Serialize};

use super::{ALL, Place};
use crate::hash;

/// What stands for an event that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// What the event belongs to: what comes after it with the same key waits for it.
    pub(crate) key: String,
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) position: u64,
    pub(crate) kind: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// Why it was set aside; none if it only came behind another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// What a person wants of the events of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) key: String,
    /// The position of the event that is to be left out; none if all are to be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skip: Option<u64>,
    pub(crate) who: String,
    pub(crate) why: String,
}

/// An order as it is in the store.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) order: Order,
    pub(super) revision: Position,
}

impl Given {
    pub(super) fn changed(change: &Change) -> Option<Self> {
        Self::read(change.value.as_ref()?, change.revision)
    }

    pub(super) fn there(entry: &Entry) -> Option<Self> {
        Self::read(&entry.value, entry.revision)
    }

    fn read(value: &[u8], revision: Position) -> Option<Self> {
        let order = serde_json::from_slice(value).ok()?;
        Some(Self { order, revision })
    }
}

/// What is kept of an event that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    #[serde(rename = "skipped")]
    pub(crate) letter: Letter,
    pub(crate) who: String,
    pub(crate) why: String,
}

/// As much of an error is kept.
const ERROR: usize = 2_000;

impl Letter {
    pub(crate) fn new(key: &str, place: &Place, error: Option<String>) -> Self {
        let letter = Self {
            key: key.to_owned(),
            stream: place.stream.clone(),
            version: place.version.get(),
            position: place.position.get(),
            kind: place.kind.clone(),
            at: place.at.as_millis(),
            error: None,
        };
        match error {
            Some(error) => letter.because(error),
            None => letter,
        }
    }

    pub(super) fn because(self, mut error: String) -> Self {
        let mut end = error.len().min(ERROR);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        error.truncate(end);
        let error = Some(error);
        Self { error, ..self }
    }
}

pub(crate) fn letters(consumer: &str) -> String {
    format!("cqrs/{consumer}/dead/")
}

pub(crate) fn letters_of(consumer: &str, key: &str) -> String {
    format!("{}{}/", letters(consumer), short(key))
}

pub(crate) fn letter(consumer: &str, key: &str, position: u64) -> String {
    format!("{}{position:020}", letters_of(consumer, key))
}

pub(crate) fn orders(consumer: &str) -> String {
    format!("cqrs/{consumer}/order/")
}

pub(crate) fn order(consumer: &str, key: &str) -> String {
    format!("{}{}", orders(consumer), short(key))
}

/// What was skipped, by whom and why.
pub(crate) fn audit(consumer: &str) -> String {
    format!("cqrs/{consumer}/audit")
}

fn short(key: &str) -> String {
    hash::hex(&[key.as_bytes()])[..32].to_owned()
}

/// The keys of a consumer that have letters, and where these are in the log.
#[derive(Debug, Default)]
pub(super) struct Dead {
    keys: HashMap<String, BTreeSet<Position>>,
}

const PAGE: u32 = 1_000;

impl Dead {
    pub(super) async fn load(log: &Store, consumer: &str) -> Result<Self, Unavailable> {
        let mut dead = Self::default();
        let mut after = String::new();
        loop {
            let page = log.list(&letters(consumer), &after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(dead);
            };
            after.clone_from(&last.key);
            for entry in &page {
                // What is behind one that can't be read would not be known.
                let letter = serde_json::from_slice::<Letter>(&entry.value);
                let letter = letter.map_err(|error| {
                    Unavailable::new(Cause::Corrupt, Effect::NotExecuted).because(error)
                })?;
                dead.add(&letter.key, Position::new(letter.position));
            }
        }
    }

    /// What is there already stays once.
    pub(super) fn add(&mut self, key: &str, position: Position) {
        self.keys
            .entry(key.to_owned())
            .or_default()
            .insert(position);
    }

    /// Whether an event has to wait for one that was set aside, or is one.
    pub(super) fn is_behind(&self, key: &str, position: Position) -> bool {
        let first = self.keys.get(key).and_then(BTreeSet::first);
        first.is_some_and(|first| *first <= position)
    }

    pub(super) fn count(&self) -> u32 {
        let count: usize = self.keys.values().map(BTreeSet::len).sum();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn taken(&mut self, key: &str, position: Position) {
        if let Some(of_key) = self.keys.get_mut(key) {
            of_key.remove(&position);
        }
    }

    pub(super) fn over(&mut self, key: &str) {
        self.keys.remove(key);
    }
}

/// Puts letters there, those that are there already aside. False if somebody else has taken over.
pub(super) async fn put(
    log: &Store,
    consumer: &str,
    fence: Option<&Fence>,
    letters: &[Letter],
) -> Result<bool, CommitError> {
    for letter in letters {
        let bytes = serde_json::to_vec(letter).unwrap_or_default();
        let put = Put::new(bytes).expecting(Expected::Absent);
        let batch = Batch::new().put(self::letter(consumer, &letter.key, letter.position), put);
        match log.commit(fenced(batch, fence)).await {
            Ok(_) | Err(CommitError::Conflict(_)) => {}
            Err(CommitError::Fenced { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Takes away what a consumer has said and set aside that is no more. Who skipped what, and why, stays.
pub(crate) async fn forget(log: &Store, consumer: &str) -> Result<(), CommitError> {
    let said = Batch::new().delete(format!("{ALL}{consumer}"), Expected::Any);
    log.commit(said).await?;
    for prefix in [letters(consumer), orders(consumer)] {
        loop {
            let page = log.list(&prefix, "", PAGE).await?;
            if page.is_empty() {
                break;
            }
            let gone = page.iter().fold(Batch::new(), |batch, entry| {
                batch.delete(&entry.key, Expected::Any)
            });
            log.commit(gone).await?;
        }
    }
    Ok(())
}

/// The names of all letters of a consumer, without what they begin with.
pub(crate) async fn names(log: &Store, consumer: &str) -> Result<BTreeSet<String>, Unavailable> {
    let prefix = letters(consumer);
    let (mut names, mut after) = (BTreeSet::new(), String::new());
    loop {
        let page = log.list(&prefix, &after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(names);
        };
        after.clone_from(&last.key);
        names.extend(
            page.iter()
                .map(|entry| entry.key[prefix.len()..].to_owned()),
        );
    }
}

pub(super) fn fenced(batch: Batch, fence: Option<&Fence>) -> Batch {
    match fence {
        Some(fence) => batch.fenced(fence.clone()),
        None => batch,
    }
}

/// The event of a letter, if the log has it.
pub(crate) async fn event(
    log: &Store,
    letter: &Letter,
) -> Result<Option<backstay_store::Recorded>, Unavailable> {
    let before = Version::new(letter.version.saturating_sub(1));
    let events = log.read(&letter.stream, before, 1).await?;
    Ok(events.into_iter().next())
}
