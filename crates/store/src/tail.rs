use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::store::POLL;
use crate::{Backend, Change, Position, Recorded, Unavailable};

/// As many as one look brings.
const PAGE: u32 = 500;

/// How many to ask for: fewer after a failure, because they may have been too large to come in time.
#[derive(Debug)]
struct Page(u32);

impl Page {
    fn told<T, E>(&mut self, told: Result<T, E>) -> Result<T, E> {
        self.0 = match told {
            Ok(_) => (self.0 * 2).min(PAGE),
            Err(_) => (self.0 / 4).max(1),
        };
        told
    }
}

/// Follows the events of all streams.
///
/// It pulls: nothing is buffered for it, and it never loses an event, however slow its reader is.
#[derive(Debug)]
pub struct Tail {
    backend: Arc<dyn Backend>,
    changed: watch::Receiver<u64>,
    after: Position,
    page: Page,
}

impl Tail {
    pub(crate) fn new(backend: Arc<dyn Backend>, after: Position) -> Self {
        Self {
            changed: backend.changed(),
            backend,
            after,
            page: Page(PAGE),
        }
    }

    /// The next events, in order; waits until there is one.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was not returned comes next time.
    pub async fn next(&mut self) -> Result<Vec<Recorded>, Unavailable> {
        loop {
            self.changed.mark_unchanged();
            let events = self.backend.read_all(self.after, self.page.0).await;
            let events = self.page.told(events)?;
            if let Some(last) = events.last() {
                self.after = last.position;
                return Ok(events);
            }
            wait(&mut self.changed).await;
        }
    }

    /// The last position that was returned.
    pub fn position(&self) -> Position {
        self.after
    }
}

/// Follows the changes of keys.
#[derive(Debug)]
pub struct Watch {
    backend: Arc<dyn Backend>,
    changed: watch::Receiver<u64>,
    prefix: String,
    after: Position,
    page: Page,
}

impl Watch {
    pub(crate) fn new(backend: Arc<dyn Backend>, prefix: String, after: Position) -> Self {
        Self {
            changed: backend.changed(),
            backend,
            prefix,
            after,
            page: Page(PAGE),
        }
    }

    /// The next changes, in order, each key at most once; waits until there is one.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was not returned comes next time.
    pub async fn next(&mut self) -> Result<Vec<Change>, WatchError> {
        loop {
            let look = self.look().await?;
            if !look.changes.is_empty() {
                return Ok(look.changes);
            }
            wait(&mut self.changed).await;
        }
    }

    /// The next changes as [`next`](Self::next) returns them, without waiting for one.
    ///
    /// # Cancel safety
    ///
    /// As `next`.
    pub async fn look(&mut self) -> Result<Look, WatchError> {
        self.changed.mark_unchanged();
        let head = self.backend.head().await?;
        let asked_for = self.page.0 as usize;
        let changes = self
            .backend
            .changes(self.prefix.clone(), self.after, self.page.0)
            .await;
        let changes = self.page.told(changes)?;
        let changes = changes.map_err(|until| WatchError::Forgotten { until })?;
        let is_all = changes.len() < asked_for;
        if let Some(last) = changes.last() {
            self.after = last.revision;
        }
        if is_all {
            // All before is seen: the next look need not pass it again, nor miss what is forgotten of it.
            self.after = self.after.max(head);
        }
        Ok(Look {
            changes,
            head,
            is_all,
        })
    }

    /// All changes up to here were returned.
    pub fn position(&self) -> Position {
        self.after
    }
}

/// What one look of a [`Watch`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Look {
    /// In order, each key at most once.
    pub changes: Vec<Change>,
    /// Where the store was before it was asked for changes.
    pub head: Position,
    /// Whether these are all that there were. All up to [`Watch::position`] are returned then, which is at least the head.
    pub is_all: bool,
}

/// Why a watch can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Deletions up to this position are forgotten, so some would be missed. List the keys, then watch from there.
    #[error("deletions up to position {until} are forgotten")]
    Forgotten {
        /// From here on all are known.
        until: Position,
    },
    /// The store can't say now. Ask again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A hint, or the time for another look.
async fn wait(changed: &mut watch::Receiver<u64>) {
    if let Ok(Err(_)) = timeout(POLL, changed.changed()).await {
        // Nobody hints any more; looking still tells why.
        tokio::time::sleep(POLL).await;
    }
}
