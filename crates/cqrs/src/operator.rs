//! What a person can see of consumers and of what they have set aside, and do about it.

use std::collections::HashSet;
use std::time::Duration;

use backstay_store::{Batch, CommitError, Put, Recorded, Store, Timestamp, Unavailable, Version};

use crate::Invalid;
use crate::consumer::dead::{self, Letter, Order};
use crate::consumer::{ALL, Place, Said, lag};
use crate::projection::{Checksum, mark};

/// Sees the consumers of a log, by the log's store alone. Cheap to clone.
///
/// What it decides is done by the node that feeds the consumer, as soon as it looks.
#[derive(Clone, Debug)]
pub struct Operator {
    log: Store,
}

/// A consumer, as it has said some seconds ago.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its name; another generation of a read model is `{name}~{generation}`.
    pub name: String,
    /// The streams that it follows begin so.
    pub streams: String,
    /// All up to here is taken.
    pub position: backstay_store::Position,
    /// When it said so, by the clock of its machine.
    pub at: Timestamp,
    /// How old the oldest event is that it had not taken by then, or by now if it has said nothing for 5 s; none if there is none.
    pub lag: Option<Duration>,
    /// As many events are set aside, 10,000 at most.
    pub dead: usize,
}

/// An event that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dead {
    /// What it belongs to: all later events of the same key wait for it.
    pub key: String,
    /// Its stream.
    pub stream: String,
    /// Its place in the stream.
    pub version: Version,
    /// Its place in the log.
    pub position: backstay_store::Position,
    /// Its kind.
    pub kind: String,
    /// When it was written, by the clock of the store.
    pub at: Timestamp,
    /// Why it was set aside; none if it only came behind another.
    pub error: Option<String>,
}

/// Why nothing was decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecideError {
    /// Nothing is set aside that this would be about.
    #[error("consumer {consumer} has set nothing aside of {key:?}{at}", at = position.map(|at| format!(" at {at}")).unwrap_or_default())]
    NotFound {
        /// The consumer.
        consumer: String,
        /// The key.
        key: String,
        /// The position, where one was given.
        position: Option<backstay_store::Position>,
    },
    /// Only the first of a key can be skipped: what is behind it is tried again after that.
    #[error("the first that consumer {consumer} has set aside of {key:?} is at {first}")]
    NotFirst {
        /// The consumer.
        consumer: String,
        /// The key.
        key: String,
        /// The position of the first.
        first: backstay_store::Position,
    },
    /// A value breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store can't say whether it was written, or can't do it now. What is decided twice counts once.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

const PAGE: u32 = 10_000;
/// A consumer that takes something says so within a second.
const SILENT_MILLIS: u64 = 5_000;
/// As many bytes of who and why.
const WORDS: usize = 1_000;

impl Operator {
    /// Of the consumers of the log in this store.
    pub fn new(log: impl Into<Store>) -> Self {
        Self { log: log.into() }
    }

    /// All consumers that have said how far they are.
    pub async fn consumers(&self) -> Result<Vec<Listed>, Unavailable> {
        let mut all = Vec::new();
        for entry in self.log.list(ALL, "", PAGE).await? {
            let Ok(said) = serde_json::from_slice::<Said>(&entry.value) else {
                continue;
            };
            let name = entry.key[ALL.len()..].to_owned();
            let position = backstay_store::Position::new(said.position);
            // What came after it has spoken it may have taken: it speaks again soon.
            let now = crate::consumer::now();
            let at = Timestamp::from_millis(said.at);
            let is_silent = now.as_millis().saturating_sub(said.at) > SILENT_MILLIS;
            let until = if is_silent { now } else { at };
            all.push(Listed {
                lag: lag::of(&self.log, position, &said.streams, until).await?,
                dead: self.log.list(&dead::letters(&name), "", PAGE).await?.len(),
                name,
                streams: said.streams,
                position,
                at,
            });
        }
        Ok(all)
    }

    /// What a consumer has set aside, each key's together and in order; the first 10,000.
    pub async fn dead(&self, consumer: &str) -> Result<Vec<Dead>, Unavailable> {
        let letters = self.log.list(&dead::letters(consumer), "", PAGE).await?;
        let read = |entry: &backstay_store::Entry| {
            let letter: Letter = serde_json::from_slice(&entry.value).ok()?;
            Some(Dead {
                key: letter.key,
                stream: letter.stream,
                version: Version::new(letter.version),
                position: backstay_store::Position::new(letter.position),
                kind: letter.kind,
                at: Timestamp::from_millis(letter.at),
                error: letter.error,
            })
        };
        Ok(letters.iter().filter_map(read).collect())
    }

    /// What the checksum of a read model has to be that follows these streams and is at this position.
    ///
    /// Events that are set aside or were skipped are left out, as they are there. A read model that passes over kinds that
    /// it does not know can't be compared.
    pub async fn checksum(
        &self,
        consumer: &str,
        streams: &str,
        position: backstay_store::Position,
    ) -> Result<Checksum, Unavailable> {
        let prefix = format!("{streams}/");
        let left_out = self.left_out(consumer).await?;
        let mut checksum = Checksum {
            position,
            events: 0,
            sum: 0,
        };
        let mut after = backstay_store::Position::START;
        loop {
            let page = self.log.read_all(after, PAGE).await?;
            for recorded in &page {
                after = recorded.position;
                if after > position {
                    return Ok(checksum);
                }
                if recorded.stream.starts_with(&prefix) && !left_out.contains(&after.get()) {
                    checksum.events += 1;
                    let mark = mark(&Place::of(recorded));
                    checksum.sum = checksum.sum.wrapping_add(mark);
                }
            }
            if page.len() < PAGE as usize {
                return Ok(checksum);
            }
        }
    }

    /// The positions of what is set aside and of what was skipped.
    async fn left_out(&self, consumer: &str) -> Result<HashSet<u64>, Unavailable> {
        let names = dead::names(&self.log, consumer).await?;
        let position = |name: &String| name.rsplit_once('/')?.1.parse().ok();
        let mut positions: HashSet<u64> = names.iter().filter_map(position).collect();
        let mut after = Version::START;
        loop {
            let page = self.log.read(&dead::audit(consumer), after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(positions);
            };
            after = last.version;
            let skipped = page.iter().filter_map(|event| {
                let skipped: dead::Skipped = serde_json::from_slice(&event.data).ok()?;
                Some(skipped.letter.position)
            });
            positions.extend(skipped);
        }
    }

    /// The event itself, as the log has it.
    pub async fn event(&self, dead: &Dead) -> Result<Option<Recorded>, Unavailable> {
        let before = Version::new(dead.version.get().saturating_sub(1));
        let events = self.log.read(&dead.stream, before, 1).await?;
        Ok(events.into_iter().next())
    }

    /// Has all that was set aside of a key tried again, in order, because what was wrong is mended.
    ///
    /// It stops at the first that is refused again.
    pub async fn replay(
        &self,
        consumer: &str,
        key: &str,
        who: &str,
        why: &str,
    ) -> Result<(), DecideError> {
        self.decide(consumer, key, None, who, why).await
    }

    /// Leaves out the first event of a key that was set aside, and has what came behind it tried again. Until that is done, the
    /// last decision about a key counts. Who and why are kept in the stream `cqrs/{consumer}/audit`.
    pub async fn skip(
        &self,
        consumer: &str,
        key: &str,
        position: backstay_store::Position,
        who: &str,
        why: &str,
    ) -> Result<(), DecideError> {
        self.decide(consumer, key, Some(position), who, why).await
    }

    async fn decide(
        &self,
        consumer: &str,
        key: &str,
        skip: Option<backstay_store::Position>,
        who: &str,
        why: &str,
    ) -> Result<(), DecideError> {
        for (field, text) in [("who", who), ("why", why)] {
            if !(1..=WORDS).contains(&text.trim().len()) {
                let limit = format!("must have 1 to {WORDS} bytes");
                return Err(Invalid::new(field, format!("{text:?}"), limit).into());
            }
        }
        let letters = dead::letters_of(consumer, key);
        let first = self.log.list(&letters, "", 1).await?;
        let not_found = || DecideError::NotFound {
            consumer: consumer.to_owned(),
            key: key.to_owned(),
            position: skip,
        };
        let first = first.first().ok_or_else(not_found)?;
        if let Some(position) = skip {
            let letter = dead::letter(consumer, key, position.get());
            if self.log.get(&letter).await?.is_none() {
                return Err(not_found());
            }
            if letter != first.key {
                let first = first.key[letters.len()..].parse();
                return Err(DecideError::NotFirst {
                    consumer: consumer.to_owned(),
                    key: key.to_owned(),
                    first: backstay_store::Position::new(first.unwrap_or_default()),
                });
            }
        }
        let order = Order {
            key: key.to_owned(),
            skip: skip.map(backstay_store::Position::get),
            who: who.to_owned(),
            why: why.to_owned(),
        };
        let put = Put::new(serde_json::to_vec(&order).unwrap_or_default());
        match self
            .log
            .commit(Batch::new().put(dead::order(consumer, key), put))
            .await
        {
            Ok(_) => Ok(()),
            Err(CommitError::Invalid(invalid)) => Err(invalid.into()),
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(error) => unreachable!("it expects nothing and has no fence: {error}"),
        }
    }
}
