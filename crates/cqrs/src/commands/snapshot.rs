//! States kept beside their streams, so that long ones are not read from the start.

use backstay_store::{Batch, Put, Store, Unavailable, Version};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Shared;
use crate::decider::Decider;
use crate::hash;

pub(super) struct Snapshots<S> {
    /// One after so many events.
    every: u64,
    /// Of the state's form: those of another are not read.
    schema: u32,
    write: fn(&S) -> serde_json::Result<Box<RawValue>>,
    read: fn(&str) -> serde_json::Result<S>,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    schema: u32,
    version: u64,
    state: Box<RawValue>,
}

impl<S: Serialize + DeserializeOwned> Snapshots<S> {
    pub(super) fn new(every: u64, schema: u32) -> Self {
        Self {
            every,
            schema,
            write: serde_json::value::to_raw_value,
            read: |text| serde_json::from_str(text),
        }
    }
}

impl<S> Snapshots<S> {
    /// Whether what leads from one version to another passes a version that has one.
    pub(super) fn is_due(&self, from: Version, to: Version) -> bool {
        from.get() / self.every != to.get() / self.every
    }

    /// A state is not worth failing a command: one that can't be written, or is too large, is left out.
    pub(super) fn add(
        &self,
        batch: Batch,
        (key, limit): (&str, usize),
        version: Version,
        state: &S,
    ) -> Batch {
        let Ok(state) = (self.write)(state) else {
            return batch;
        };
        let snapshot = Snapshot {
            schema: self.schema,
            version: version.get(),
            state,
        };
        match serde_json::to_vec(&snapshot) {
            Ok(bytes) if bytes.len() <= limit => batch.put(key, Put::new(bytes)),
            _ => batch,
        }
    }

    /// The last one, if it can be read.
    pub(super) async fn find(
        &self,
        store: &Store,
        key: &str,
    ) -> Result<Option<(S, Version)>, Unavailable> {
        let Some(entry) = store.get(key).await? else {
            return Ok(None);
        };
        let snapshot = serde_json::from_slice::<Snapshot>(&entry.value).ok();
        Ok(snapshot
            .filter(|snapshot| snapshot.schema == self.schema)
            .and_then(|snapshot| {
                let state = (self.read)(snapshot.state.get()).ok()?;
                Some((state, Version::new(snapshot.version)))
            }))
    }
}

impl<D: Decider> Shared<D> {
    pub(super) fn snapshot_key(&self, stream: &str) -> String {
        let digits = hash::hex(&[stream.as_bytes()]);
        format!("cqrs/{}/snapshot/{}", self.name, &digits[..32])
    }
}
