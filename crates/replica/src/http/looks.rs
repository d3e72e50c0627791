use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use backstay_store::{Change, Position, Store, WatchError};
use tokio::select;
use tokio::sync::{Mutex, watch};

use crate::keys::epoch;
use crate::{SourceError, Version};

/// Looks at a store for all who ask at the same time: one looks, and the others take what he has seen.
pub(super) struct Looks {
    store: Store,
    prefix: String,
    /// How many have begun.
    begun: AtomicU64,
    /// The last one, and its number. Held by the one who looks.
    last: Mutex<(u64, Result<Arc<Seen>, SourceError>)>,
    /// Where the store was seen.
    head: watch::Sender<u64>,
    /// Held by the one who waits for news for all.
    waits: Mutex<()>,
}

/// What a look has found.
pub(super) struct Seen {
    epoch: u64,
    from: u64,
    head: u64,
    pub(super) found: Found,
}

pub(super) enum Found {
    /// What has changed, up to where, and whether that is all.
    Changes(Vec<Change>, u64, bool),
    /// The store is in this history, and who asks in another.
    Another(u64),
    /// What was deleted since is not known any more.
    Forgotten,
}

impl Seen {
    /// Whether it says all that a look from there would.
    fn serves(&self, from: Version) -> bool {
        let Found::Changes(_, upto, _) = self.found else {
            return false;
        };
        self.epoch == from.epoch && (self.from..=upto.min(self.head)).contains(&from.number)
    }
}

impl Looks {
    pub(super) fn new(store: Store, prefix: String) -> Self {
        Self {
            store,
            prefix,
            begun: AtomicU64::new(0),
            last: Mutex::new((0, Err(SourceError::new("nobody has looked")))),
            head: watch::Sender::new(0),
            waits: Mutex::new(()),
        }
    }

    /// What has changed since, and more perhaps; by a look that has begun after this was asked.
    pub(super) async fn look(&self, from: Version) -> Result<Arc<Seen>, SourceError> {
        let before = self.begun.load(SeqCst);
        let mut last = self.last.lock().await;
        let (number, seen) = &*last;
        let is_of_use = seen.as_ref().map_or(true, |seen| seen.serves(from));
        if *number > before && is_of_use {
            return seen.clone();
        }
        let number = self.begun.fetch_add(1, SeqCst) + 1;
        let seen = self.see(from).await.map(Arc::new);
        *last = (number, seen.clone());
        seen
    }

    async fn see(&self, from: Version) -> Result<Seen, SourceError> {
        let seen = |epoch, head, found| Seen {
            epoch,
            from: from.number,
            head,
            found,
        };
        let epoch = epoch(&self.store, Some(from)).await?;
        if epoch != from.epoch {
            return Ok(seen(epoch, 0, Found::Another(epoch)));
        }
        // What has expired is a change from here on.
        self.store.expire().await.map_err(SourceError::new)?;
        let mut watch = self.store.watch(&self.prefix, Position::new(from.number));
        let look = match watch.look().await {
            Ok(look) => look,
            Err(WatchError::Forgotten { .. }) => return Ok(seen(epoch, 0, Found::Forgotten)),
            Err(error) => return Err(SourceError::new(error)),
        };
        let head = look.head.get();
        // Also where it has gone back, or who waits would never wait again.
        self.see_head(head);
        if head < from.number {
            return Err(SourceError::new("the store has gone back"));
        }
        let upto = watch.position().get();
        let found = Found::Changes(look.changes, upto, look.is_all);
        Ok(seen(epoch, head, found))
    }

    fn see_head(&self, seen: u64) {
        self.head
            .send_if_modified(|head| std::mem::replace(head, seen) != seen);
    }

    /// Waits until the store has gone on from a position. One of all who wait asks it, and tells the others.
    pub(super) async fn news(&self, from: u64, at_most: Duration) {
        let mut head = self.head.subscribe();
        let asked = async {
            let _alone = self.waits.lock().await;
            // What fails here fails in the next look, which tells it.
            let _ = self.store.wait_for(Position::new(from + 1), at_most).await;
            if let Ok(seen) = self.store.head().await {
                self.see_head(seen.get());
            }
        };
        select! {
            biased;
            _ = head.wait_for(|head| *head > from) => {}
            () = asked => {}
        }
    }
}
