//! The article's command service, event bus and query service, as printed, with orders in place of keys.
//!
//! It prints a service that creates; what confirms and cancels is written in the same way.

use backstay::store::SqliteStore;

use super::gate::{Gate, Place};
use super::order::{Asked, Change, Row};
use super::tables;
use super::{read_side, write_side};
use crate::saga::http::post;

/// `eventBus`. How it delivers is not said; here each event is on its way as soon as it is published.
#[derive(Clone, Copy)]
struct EventBus {
    gate: Gate,
}

impl EventBus {
    /// Returns nothing, as printed: nobody learns whether the event has arrived. It is kept nowhere, so nobody can send it
    /// again, and one does not wait for the one before it.
    fn publish(self, event: Asked) {
        tokio::spawn(async move {
            let reader = self.gate.pass(event.at(Place::Written)).await?.reader;
            if let Some(reader) = reader {
                post(reader, "told", http::HeaderMap::new(), &event).await?;
                self.gate.pass(event.at(Place::Taken)).await?;
            }
            anyhow::Ok(())
        });
    }
}

/// `KeyCommandService`.
#[derive(Clone)]
pub(super) struct OrderCommandService {
    pub(super) db: SqliteStore,
    event_bus: EventBus,
}

impl OrderCommandService {
    pub(super) fn new(db: SqliteStore, gate: Gate) -> Self {
        Self {
            db,
            event_bus: EventBus { gate },
        }
    }

    /// `CreateKey`. Two writes, to the database and to the bus: who dies in between has made only the first. A customer who
    /// asks again is refused by the database, so that the second is not made then either.
    pub(super) async fn change(&self, asked: Asked) -> anyhow::Result<bool> {
        if !write_side::write(&self.db, asked).await? {
            return Ok(false);
        }
        self.event_bus.gate.pass(asked.at(Place::Written)).await?;
        self.event_bus.publish(asked);
        Ok(true)
    }
}

/// `KeyQueryService`. Its cache is a table here, so that nothing is gone only because it was in memory.
#[derive(Clone)]
pub(super) struct OrderQueryService {
    cache: SqliteStore,
}

impl OrderQueryService {
    pub(super) fn new(cache: SqliteStore) -> Self {
        Self { cache }
    }

    /// `GetKey`: what the cache has now, however old that is.
    pub(super) async fn get(&self, number: i64) -> anyhow::Result<Option<Row>> {
        read_side::find(&self.cache, number).await
    }

    /// `HandleKeyCreatedEvent`, the only handler that is printed: what else is published is dropped. Events have no number, so
    /// an old one or a second one could not be told.
    pub(super) async fn handle(&self, event: Asked) -> anyhow::Result<()> {
        if event.change == Change::Place {
            tables::commit(&self.cache, move |rows| read_side::apply(rows, event, 0)).await?;
        }
        Ok(())
    }
}
