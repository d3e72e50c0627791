use std::time::Duration;

use backstay_store::{Position, Store, Unavailable};
use tokio::time::{Instant, sleep_until};

use super::checkpoint::{self, Told};
use super::generation::{Generations, id};
use crate::consumer::WaitError;

/// A read model in a store, as all nodes see it, whichever feeds it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) store: Store,
    pub(super) name: String,
}

/// How far a read model is, and a sum over the events that it has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checksum {
    /// All up to here is taken.
    pub position: Position,
    /// As many events were.
    pub events: u64,
    /// Equal, where the same events were taken, each as often.
    pub sum: u128,
}

/// Nobody waits a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

impl View {
    /// What the generation that is read is called.
    pub(super) async fn live(&self) -> Result<(u32, String), Unavailable> {
        let (generations, _) = Generations::load(&self.store, &self.name).await?;
        Ok((generations.live, id(&self.name, generations.live)))
    }

    pub(super) async fn told(&self) -> Result<Told, Unavailable> {
        loop {
            let (_, live) = self.live().await?;
            let (told, _) = checkpoint::there(&self.store, &live).await?;
            // What the live one tells is in the next one too. One that was replaced meanwhile may tell more.
            if self.live().await?.1 == live {
                return Ok(told);
            }
        }
    }

    pub(super) async fn at_least(
        &self,
        wanted: Position,
        within: Duration,
    ) -> Result<(), WaitError> {
        let until = Instant::now() + within.min(LONGEST);
        let prefix = format!("cqrs/{}", self.name);
        let mut watch = None;
        loop {
            let at = Position::new(self.told().await?.position);
            if at >= wanted {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(WaitError::Behind { at, wanted });
            }
            // From before the look, so that nothing comes between.
            let Some(looks) = &mut watch else {
                let head = self.store.head().await?;
                watch = Some(self.store.watch(&prefix, head));
                continue;
            };
            let is_lost = tokio::select! {
                biased;
                changes = looks.next() => changes.is_err(),
                () = sleep_until(until) => false,
            };
            if is_lost {
                // What is wrong shows at the next look.
                watch = None;
            }
        }
    }

    pub(super) async fn checksum(&self) -> Result<Checksum, Unavailable> {
        let told = self.told().await?;
        Ok(Checksum {
            position: Position::new(told.position),
            events: told.events,
            sum: told.sum,
        })
    }

    /// Has another generation built beside the live one, unless one is being built.
    pub(super) async fn rebuild(&self) -> Result<(), Unavailable> {
        loop {
            let (generations, loaded) = Generations::load(&self.store, &self.name).await?;
            if generations.building.is_some() {
                return Ok(());
            }
            let next = generations.building_another();
            if next.put(&self.store, &self.name, loaded).await? {
                return Ok(());
            }
        }
    }

    /// Gives up the generation that is being built, if one is.
    pub(super) async fn abandon_rebuild(&self) -> Result<(), Unavailable> {
        loop {
            let (mut generations, loaded) = Generations::load(&self.store, &self.name).await?;
            let Some(building) = generations.building.take() else {
                return Ok(());
            };
            generations.retired.push(building);
            if generations.put(&self.store, &self.name, loaded).await? {
                return Ok(());
            }
        }
    }
}
