//! How far a read model in a store is, in the same commit as the model.

use backstay_store::{
    Batch, Cause, Commit, CommitError, Conflict, Effect, Expected, Fence, Position, Put, Store,
    Unavailable,
};
use serde::{Deserialize, Serialize};

use crate::consumer::{Item, SinkError};
use crate::hash;

/// A read model's place in the log, as its own store has it.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) store: Store,
    key: String,
    /// What is followed.
    streams: String,
    /// Of what the store has; none if it has none.
    revision: Option<Position>,
    pub(crate) told: Told,
}

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) position: u64,
    /// As many events were taken.
    pub(crate) events: u64,
    /// The sum of their marks.
    #[serde(with = "digits")]
    pub(crate) sum: u128,
}

/// Who feeds a read model, and from what.
#[derive(Serialize, Deserialize)]
struct Term {
    token: u64,
    streams: String,
}

impl Told {
    /// The same after some more events.
    pub(crate) fn with<T>(self, items: &[Item<T>], to: Position) -> Self {
        let marks = items.iter().map(|item| mark(&item.place));
        Self {
            position: to.get(),
            events: self.events + items.len() as u64,
            sum: marks.fold(self.sum, u128::wrapping_add),
        }
    }
}

/// A number that stands for an event: the sum over many says whether the same were taken, each as often.
pub(crate) fn mark(place: &crate::consumer::Place) -> u128 {
    let (position, version) = (place.position.get(), place.version.get());
    let digest = hash::digest(&[
        &position.to_be_bytes(),
        place.stream.as_bytes(),
        &version.to_be_bytes(),
        place.kind.as_bytes(),
    ]);
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(half)
}

impl Checkpoint {
    pub(crate) fn new(store: Store, consumer: &str, streams: &str) -> Self {
        Self {
            store,
            key: key(consumer),
            streams: streams.to_owned(),
            revision: None,
            told: Told::default(),
        }
    }

    /// Keeps all with an earlier fence out, and reads how far it is.
    pub(crate) async fn open(&mut self, fence: &Fence) -> Result<Position, SinkError> {
        let key = format!("{}/term", self.key);
        let before = self.store.get(&key).await?;
        let before = before.and_then(|entry| serde_json::from_slice::<Term>(&entry.value).ok());
        if let Some(before) = before.filter(|before| before.streams != self.streams) {
            let (before, now) = (before.streams, &self.streams);
            return Err(SinkError::Refused(format!(
                "it has followed the streams {before:?}, and now {now:?}: what follows others needs another name"
            )));
        }
        let term = Term {
            token: fence.token,
            streams: self.streams.clone(),
        };
        let put = Put::new(serde_json::to_vec(&term).unwrap_or_default());
        let batch = Batch::new().put(key, put).fenced(fence.clone());
        self.store.commit(batch).await.map_err(not_committed)?;
        let entry = self.store.get(&self.key).await?;
        self.revision = entry.as_ref().map(|entry| entry.revision);
        self.told = match entry {
            Some(entry) => read(&entry.value)?,
            None => Told::default(),
        };
        Ok(Position::new(self.told.position))
    }

    /// Whether nothing was ever taken.
    pub(crate) fn is_new(&self) -> bool {
        self.revision.is_none()
    }

    /// A batch that says that it is there.
    pub(crate) fn batch(&self, told: Told, fence: &Fence) -> Batch {
        let bytes = serde_json::to_vec(&told).unwrap_or_default();
        let expected = self.revision.map_or(Expected::Absent, Expected::Exactly);
        let put = Put::new(bytes).expecting(expected);
        Batch::new().put(&self.key, put).fenced(fence.clone())
    }

    /// Such a batch is there.
    pub(crate) fn committed(&mut self, commit: &Commit, told: Told) {
        self.revision = commit.revision(&self.key).or(self.revision);
        self.told = told;
    }

    /// Says, for a while, that an event that was set aside is taken; refused if that was said before.
    pub(crate) fn again(&self, batch: Batch, position: Position) -> Batch {
        let key = format!("{}/again/{:020}", self.key, position.get());
        let put = Put::new("{}").expecting(Expected::Absent);
        batch.put(key, put.expires_after(AGAIN))
    }

    /// Whether an event that was set aside is known to be taken.
    pub(crate) async fn has_again(&self, position: Position) -> Result<bool, SinkError> {
        let key = format!("{}/again/{:020}", self.key, position.get());
        Ok(self.store.get(&key).await?.is_some())
    }

    /// Whether it was refused because that was said before.
    pub(crate) fn is_again(&self, conflict: &Conflict) -> bool {
        let again = format!("{}/again/", self.key);
        matches!(conflict, Conflict::Key { key, .. } if key.starts_with(&again))
    }
}

/// Whoever takes an event again has said so long before.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3_600);

/// Where it is in the store.
pub(crate) fn key(consumer: &str) -> String {
    format!("cqrs/{consumer}/checkpoint")
}

/// How far a read model is, and the revision that says so; at the start if it has not begun.
pub(crate) async fn there(
    store: &Store,
    consumer: &str,
) -> Result<(Told, Option<Position>), Unavailable> {
    let Some(entry) = store.get(&key(consumer)).await? else {
        return Ok((Told::default(), None));
    };
    let told = serde_json::from_slice(&entry.value);
    let told =
        told.map_err(|error| Unavailable::new(Cause::Corrupt, Effect::NotExecuted).because(error))?;
    Ok((told, Some(entry.revision)))
}

fn read(value: &[u8]) -> Result<Told, SinkError> {
    serde_json::from_slice(value)
        .map_err(|error| SinkError::Refused(format!("its checkpoint can't be read: {error}")))
}

pub(crate) fn not_committed(error: CommitError) -> SinkError {
    match error {
        // Nobody else writes a checkpoint but who has taken over.
        CommitError::Fenced { .. } | CommitError::Conflict(_) => SinkError::Fenced,
        CommitError::Invalid(invalid) => SinkError::Refused(invalid.to_string()),
        error => SinkError::Unavailable(error.to_string()),
    }
}

mod digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(sum: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{sum:032x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}
