use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::Position;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Something that happened to a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happened {
    /// This node feeds the read side from here on.
    Began {
        /// From this position.
        at: Position,
    },
    /// Another node may feed it: this one does no more.
    Lost,
    /// The store, or where it goes, can't be asked now. It is tried again.
    Stalled {
        /// Why.
        error: String,
    },
    /// An event was set aside.
    SetAside {
        /// What it belongs to: what follows with the same key waits for it.
        key: String,
        /// Where it is.
        position: Position,
        /// Why.
        error: String,
    },
    /// So many events are set aside that nothing goes on until some are replayed or skipped.
    Halted {
        /// As many.
        dead: u32,
    },
    /// All events of a key that were set aside are taken, and it goes on.
    Recovered {
        /// The key.
        key: String,
    },
}

/// How far a consumer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// All up to here is taken.
    pub position: Position,
    /// How old the newest event was when it was taken, by this machine's clock. Zero before the first.
    pub lag: Duration,
    /// As many events are set aside.
    pub dead: u32,
    /// Whether this node feeds it.
    pub is_here: bool,
}

pub(crate) type Listener = Arc<dyn Fn(&Happened) + Send + Sync>;

/// What is told of a consumer.
#[derive(Clone)]
pub(crate) struct Gauge {
    pub(crate) position: watch::Sender<Position>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) listener: Option<Listener>,
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge")
            .field(&*self.progress.borrow())
            .finish()
    }
}

impl Gauge {
    pub(crate) fn new(listener: Option<Listener>) -> Self {
        Self {
            position: watch::Sender::new(Position::START),
            progress: watch::Sender::new(Progress::default()),
            listener,
        }
    }

    pub(crate) fn tell(&self, happened: &Happened) {
        if let Some(listener) = &self.listener {
            // One that panics takes nothing else with it.
            let _ = super::contained(|| listener(happened));
        }
    }

    /// Never goes back as long as a node feeds it.
    pub(crate) fn at(&self, position: Position, lag: Option<Duration>, dead: u32) {
        self.progress.send_modify(|progress| {
            progress.position = position;
            progress.lag = lag.unwrap_or(progress.lag);
            progress.dead = dead;
            progress.is_here = true;
        });
        self.position.send_replace(position);
    }

    pub(crate) fn lost(&self) {
        self.progress
            .send_modify(|progress| progress.is_here = false);
    }
}

/// Where consumers say from time to time how far they are, for those who look at the log's store only.
pub(crate) const ALL: &str = "cqrs-consumers/";

/// What is said there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) position: u64,
    /// Streams that begin so.
    pub(crate) streams: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
}
