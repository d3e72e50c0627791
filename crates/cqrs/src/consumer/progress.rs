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
    /// How far it is, told every 5 s where it is fed.
    At(Progress),
}

/// How far a consumer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// All up to here is taken.
    pub position: Position,
    /// How old the oldest event was that it had not taken, by this machine's clock; zero if it had taken all. Looked at every 5 s.
    pub lag: Duration,
    /// As many events are set aside.
    pub dead: u32,
    /// Whether this node feeds it.
    pub is_here: bool,
}

/// Is told the name of a consumer, and what happens to it.
pub(crate) type Listener = Arc<dyn Fn(&str, &Happened) + Send + Sync>;

/// What is told of a consumer.
#[derive(Clone)]
pub(crate) struct Gauge {
    name: String,
    pub(crate) position: watch::Sender<Position>,
    pub(crate) progress: watch::Sender<Progress>,
    listener: Option<Listener>,
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gauge")
            .field(&*self.progress.borrow())
            .finish()
    }
}

impl Gauge {
    pub(crate) fn new(name: &str, listener: Option<Listener>) -> Self {
        Self {
            name: name.to_owned(),
            position: watch::Sender::new(Position::START),
            progress: watch::Sender::new(Progress::default()),
            listener,
        }
    }

    pub(crate) fn tell(&self, happened: &Happened) {
        if let Some(listener) = &self.listener {
            // One that panics takes nothing else with it.
            let _ = super::contained(|| listener(&self.name, happened));
        }
    }

    /// Never goes back as long as a node feeds it.
    pub(crate) fn at(&self, position: Position, dead: u32) {
        self.progress.send_modify(|progress| {
            progress.position = position;
            progress.dead = dead;
            progress.is_here = true;
        });
        self.position.send_replace(position);
    }

    pub(crate) fn lag(&self, lag: Duration) {
        self.progress.send_modify(|progress| progress.lag = lag);
        let progress = *self.progress.borrow();
        self.tell(&Happened::At(progress));
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
