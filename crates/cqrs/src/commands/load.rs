use backstay_store::{Position, Version};

use super::{LoadError, Shared};
use crate::decider::Decider;
use crate::events::Read;

/// A thing as its stream tells it.
#[derive(Debug)]
pub(super) struct Loaded<S> {
    pub(super) state: S,
    pub(super) version: Version,
    /// That of its last event.
    pub(super) position: Position,
}

const PAGE: u32 = 1_000;

impl<D: Decider> Shared<D> {
    pub(super) async fn load(&self, stream: &str) -> Result<Loaded<D::State>, LoadError> {
        let snapshot = match &self.snapshots {
            Some(snapshots) => {
                let key = self.snapshot_key(stream);
                snapshots.find(&self.store, &key).await?
            }
            None => None,
        };
        let (state, version) = snapshot.unwrap_or_default();
        let mut loaded = Loaded {
            state,
            version,
            position: Position::START,
        };
        self.read_on(stream, &mut loaded).await?;
        Ok(loaded)
    }

    /// Brings up to date what was kept, if it is of this store's history.
    pub(super) async fn refresh(
        &self,
        stream: &str,
        mut kept: Loaded<D::State>,
    ) -> Result<Loaded<D::State>, LoadError> {
        let position = kept.position;
        if self.read_on(stream, &mut kept).await? == Some(position) {
            return Ok(kept);
        }
        self.load(stream).await
    }

    /// Reads what follows, and says where the last event was that it knew.
    async fn read_on(
        &self,
        stream: &str,
        loaded: &mut Loaded<D::State>,
    ) -> Result<Option<Position>, LoadError> {
        let from = loaded.version;
        // That event too: it says where it is.
        let mut after = Version::new(from.get().saturating_sub(1));
        let mut known = None;
        loop {
            let page = self.store.read(stream, after, PAGE).await?;
            for recorded in &page {
                (after, loaded.position) = (recorded.version, recorded.position);
                if recorded.version <= from {
                    known = Some(recorded.position);
                    continue;
                }
                match self.events.read(recorded)? {
                    Read::Known(event) => self.decider.evolve(&mut loaded.state, &event),
                    Read::Unknown => {
                        return Err(LoadError::UnknownEvent {
                            stream: stream.to_owned(),
                            version: recorded.version,
                            kind: recorded.kind.clone(),
                        });
                    }
                }
                loaded.version = recorded.version;
            }
            if page.len() < PAGE as usize {
                return Ok(known);
            }
        }
    }
}
