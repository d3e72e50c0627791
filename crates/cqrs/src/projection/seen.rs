use std::sync::Arc;

use backstay_store::{Position, Timestamp, Version};

use crate::consumer::{Item, Place};

/// An event as a read side sees it.
#[derive(Clone, Debug)]
pub struct Seen<E> {
    place: Arc<Place>,
    /// How long the name of its streams is, with what parts it from the id.
    name: usize,
    event: Arc<E>,
}

impl<E> Seen<E> {
    pub(super) fn new(item: &Item<Arc<E>>, name: usize) -> Self {
        Self {
            place: item.place.clone(),
            name,
            event: item.what.clone(),
        }
    }

    /// The thing that it happened to.
    pub fn id(&self) -> &str {
        self.place.stream.get(self.name..).unwrap_or_default()
    }

    /// What happened.
    pub fn event(&self) -> &E {
        &self.event
    }

    /// Its place in the log. Grows from event to event, and is the same whenever it is read.
    pub fn position(&self) -> Position {
        self.place.position
    }

    /// Its number among the events of the thing, from 1 on.
    pub fn version(&self) -> Version {
        self.place.version
    }

    /// Its kind, and the kind's version when it was written.
    pub fn kind(&self) -> &str {
        &self.place.kind
    }

    /// When it was written, by the clock of the store.
    pub fn at(&self) -> Timestamp {
        self.place.at
    }
}
