//! Which of a read model's generations is live, and which is being built.

use backstay_store::{
    Batch, Cause, CommitError, Effect, Expected, Position, Put, Store, Unavailable,
};
use serde::{Deserialize, Serialize};

/// What the read model's store says of its generations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generations {
    /// The one that is read.
    pub(super) live: u32,
    /// The one that is being built beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) building: Option<u32>,
    /// Those that are read no more, until what they have left behind is taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) retired: Vec<u32>,
    /// The highest that there was: what it has left in the store is not for another.
    #[serde(default)]
    pub(super) highest: u32,
}

/// Before anybody has built another.
const FIRST: Generations = Generations {
    live: 1,
    building: None,
    retired: Vec::new(),
    highest: 1,
};

/// What a generation is called where its things are kept.
pub(super) fn id(name: &str, generation: u32) -> String {
    match generation {
        1 => name.to_owned(),
        // No name has a `~`.
        generation => format!("{name}~{generation}"),
    }
}

fn key(name: &str) -> String {
    format!("cqrs/{name}/generations")
}

impl Generations {
    /// The same with another that is being built.
    pub(super) fn building_another(self) -> Self {
        let next = self.highest.max(self.live) + 1;
        Self {
            building: Some(next),
            highest: next,
            ..self
        }
    }

    pub(super) async fn load(
        store: &Store,
        name: &str,
    ) -> Result<(Self, Option<Position>), Unavailable> {
        let Some(entry) = store.get(&key(name)).await? else {
            return Ok((FIRST, None));
        };
        let read = serde_json::from_slice(&entry.value);
        let read = read.map_err(|error| {
            Unavailable::new(Cause::Corrupt, Effect::NotExecuted).because(error)
        })?;
        Ok((read, Some(entry.revision)))
    }

    /// What puts them there, unless somebody else has put others there since they were loaded.
    pub(super) fn batch(&self, name: &str, loaded: Option<Position>) -> Batch {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let expected = loaded.map_or(Expected::Absent, Expected::Exactly);
        Batch::new().put(key(name), Put::new(bytes).expecting(expected))
    }

    /// Puts them there. False if somebody else was first.
    pub(super) async fn put(
        &self,
        store: &Store,
        name: &str,
        loaded: Option<Position>,
    ) -> Result<bool, Unavailable> {
        match store.commit(self.batch(name, loaded)).await {
            Ok(_) => Ok(true),
            Err(CommitError::Unavailable(unavailable)) => Err(unavailable),
            Err(_) => Ok(false),
        }
    }
}
