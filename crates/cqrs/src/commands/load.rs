use backstay_store::{Position, Version};

use super::{LoadError, Shared};
use crate::decider::Decider;
use crate::events::Read;

/// A thing as its stream tells it.
pub(super) struct Loaded<S> {
    pub(super) state: S,
    pub(super) version: Version,
    /// That of its last event.
    pub(super) position: Position,
}

const PAGE: u32 = 1_000;

impl<D: Decider> Shared<D> {
    pub(super) async fn load(&self, stream: &str) -> Result<Loaded<D::State>, LoadError> {
        let (mut state, from) = match &self.snapshots {
            Some(snapshots) => {
                snapshots
                    .find(&self.store, &self.snapshot_key(stream))
                    .await?
            }
            None => None,
        }
        .unwrap_or_default();
        // The snapshot's last event says where it is.
        let mut after = Version::new(from.get().saturating_sub(1));
        let mut position = Position::START;
        loop {
            let page = self.store.read(stream, after, PAGE).await?;
            for recorded in &page {
                (after, position) = (recorded.version, recorded.position);
                if recorded.version <= from {
                    continue;
                }
                match self.events.read(recorded)? {
                    Read::Known(event) => self.decider.evolve(&mut state, &event),
                    Read::Unknown => {
                        return Err(LoadError::UnknownEvent {
                            stream: stream.to_owned(),
                            version: recorded.version,
                            kind: recorded.kind.clone(),
                        });
                    }
                }
            }
            if page.len() < PAGE as usize {
                let version = after;
                return Ok(Loaded {
                    state,
                    version,
                    position,
                });
            }
        }
    }
}
