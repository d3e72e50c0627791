//! What is where in the store.

use std::sync::Arc;

use crate::graph::Fingerprint;

/// The instances of a group are spread over so many shards. A worker claims shards, not instances, so that running one costs no
/// commit more than its steps do.
pub(crate) const SHARDS: u32 = 16;

/// The longest id of an instance, in bytes: with the longest names of group and saga its key has 245, of 255.
pub(crate) const MAX_ID: usize = 100;

/// Names of what a group has in the store.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    group: Arc<str>,
}

/// An instance's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) saga: Arc<str>,
    pub(crate) id: Arc<str>,
}

impl Name {
    pub(crate) fn new(saga: &str, id: &str) -> Self {
        Self {
            saga: saga.into(),
            id: id.into(),
        }
    }

    /// A saga within this one, as this step of it, tried anew so often. What would be too long is a hash.
    pub(crate) fn child(&self, saga: &str, step: &str, trial: u32) -> Self {
        let step = match trial {
            0 => step.to_owned(),
            // No step's name has a `+`.
            trial => format!("{step}+{trial}"),
        };
        let id = format!("{}/{}/{step}", self.saga, self.id);
        if id.len() <= MAX_ID {
            return Self::new(saga, &id);
        }
        let parts = [&*self.saga, &*self.id, &step].map(str::as_bytes);
        let digits = crate::hash::hex(&parts);
        Self::new(saga, &format!("/{}", &digits[..32]))
    }

    /// The shard of an instance that is no child.
    pub(crate) fn shard(&self) -> u32 {
        let digits = crate::hash::hex(&[self.saga.as_bytes(), self.id.as_bytes()]);
        let number = u32::from_str_radix(&digits[..8], 16);
        number.unwrap_or_default() % SHARDS
    }
}

impl Names {
    pub(crate) fn new(group: &str) -> Self {
        Self {
            group: group.into(),
        }
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// Its records.
    pub(crate) fn stream(&self, name: &Name) -> String {
        format!("saga/{}/{}/{}", self.group, name.saga, name.id)
    }

    /// The instance of a stream, if it is one of this group's.
    pub(crate) fn read_stream(&self, stream: &str) -> Option<Name> {
        let stream = stream.strip_prefix("saga/")?;
        let name = stream.strip_prefix(&*self.group)?.strip_prefix('/')?;
        let (saga, id) = name.split_once('/')?;
        Some(Name::new(saga, id))
    }

    /// Of all instances that have not ended.
    pub(crate) fn actives(&self) -> String {
        format!("saga/{}/active/", self.group)
    }

    pub(crate) fn actives_of(&self, shard: u32) -> String {
        format!("saga/{}/active/{shard:02}/", self.group)
    }

    /// There while an instance has not ended, and put again when somebody wants it looked at.
    pub(crate) fn active(&self, shard: u32, name: &Name) -> String {
        format!(
            "saga/{}/active/{shard:02}/{}/{}",
            self.group, name.saga, name.id
        )
    }

    /// The shard and the instance of such a key.
    pub(crate) fn read_active(&self, key: &str) -> Option<(u32, Name)> {
        let (shard, name) = key.strip_prefix(&self.actives())?.split_once('/')?;
        let (saga, id) = name.split_once('/')?;
        Some((shard.parse().ok()?, Name::new(saga, id)))
    }

    /// There for a while after an instance has ended.
    pub(crate) fn ended(&self, name: &Name) -> String {
        format!("saga/{}/ended/{}/{}", self.group, name.saga, name.id)
    }

    /// Of all instances that have ended and are remembered.
    pub(crate) fn all_ended(&self) -> String {
        format!("saga/{}/ended/", self.group)
    }

    /// The instance of such a key.
    pub(crate) fn read_ended(&self, key: &str) -> Option<Name> {
        let (saga, id) = key.strip_prefix(&self.all_ended())?.split_once('/')?;
        Some(Name::new(saga, id))
    }

    pub(crate) fn graph(&self, graph: &Fingerprint) -> String {
        format!("saga/{}/graph/{graph}", self.group)
    }

    pub(crate) fn claim(&self, shard: u32) -> String {
        format!("saga/{}/shard/{shard:02}", self.group)
    }

    /// There while a worker lives.
    pub(crate) fn workers(&self) -> String {
        format!("saga/{}/worker/", self.group)
    }

    pub(crate) fn worker(&self, owner: backstay_store::Owner) -> String {
        format!("saga/{}/worker/{owner}", self.group)
    }
}
