use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::claim::fence_name;
use crate::limits::{PAGE, check_time};
use crate::{
    Backend, Batch, BatchId, Capabilities, Claim, ClaimError, Commit, CommitError, Entry, Limits,
    Owner, Position, Recorded, Tail, Unavailable, Version, Watch,
};

/// How soon a commit of another process is seen, where nothing hints at it.
pub(crate) const POLL: Duration = Duration::from_millis(100);

/// Streams and keys, committed together. Cheap to clone; all clones are the same store.
///
/// # Cancel safety
///
/// Dropping a future that reads has no effect. Dropping one that writes leaves it open whether the write happens: settle
/// it by [`find`](Self::find), by committing the same batch again, or by [`holder`](Self::holder).
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn Backend>,
    limits: Limits,
}

impl Store {
    /// A store on this backend, with the default limits.
    pub fn new(backend: impl Backend) -> Self {
        Self {
            backend: Arc::new(backend),
            limits: Limits::default(),
        }
    }

    /// The same store, with other limits for what this handle and its clones write.
    pub fn with_limits(mut self, limits: Limits) -> Result<Self, backstay_core::Invalid> {
        limits.validate()?;
        self.limits = limits;
        Ok(self)
    }

    /// How large what this handle writes may be.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What can be relied on. What needs durability asks for it here.
    pub fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    /// Makes all changes of a batch, or none.
    ///
    /// The answer comes when the commit is as durable as the store's [`Capabilities`] say. A batch that was committed
    /// before, as its id tells, is not applied again: the first commit is the answer.
    pub async fn commit(&self, batch: Batch) -> Result<Commit, CommitError> {
        self.limits.check(&batch)?;
        self.backend.commit(batch).await
    }

    /// The commit of a batch whose answer was lost; none if it is not in the store.
    ///
    /// A commit is remembered for 24 hours after its batch was made, or as long as the backend's options say. While the batch may still be on its way,
    /// `None` can be followed by `Some`.
    pub async fn find(&self, id: BatchId) -> Result<Option<Commit>, Unavailable> {
        self.backend.find(id).await
    }

    /// The position of the last commit.
    pub async fn head(&self) -> Result<Position, Unavailable> {
        self.backend.head().await
    }

    /// Events of one stream after a version, in order. Fewer than `limit` are the last there are.
    ///
    /// `limit` is taken as at least 1 and at most 10,000.
    pub async fn read(
        &self,
        stream: &str,
        after: Version,
        limit: u32,
    ) -> Result<Vec<Recorded>, Unavailable> {
        if can_not_be(stream) {
            return Ok(Vec::new());
        }
        let after = Version::new(signed(after.get()));
        self.backend
            .read(stream.to_owned(), after, page(limit))
            .await
    }

    /// Events of all streams after a position, in the order of their commits, paged like [`read`](Self::read).
    ///
    /// Whoever has read up to a position has seen every event that will ever be at it or before.
    pub async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Recorded>, Unavailable> {
        let after = Position::new(signed(after.get()));
        self.backend.read_all(after, page(limit)).await
    }

    /// The value of a key, unless it is absent or has expired.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Unavailable> {
        if can_not_be(key) {
            return Ok(None);
        }
        self.backend.get(key.to_owned()).await
    }

    /// Keys that begin with `prefix`, in the order of their bytes, after `after`, paged like [`read`](Self::read).
    ///
    /// The first page is after `""`, each next one after the last key of the one before.
    pub async fn list(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Entry>, Unavailable> {
        if can_not_be(prefix) {
            return Ok(Vec::new());
        }
        // No name has it, and a database may not take it.
        let (prefix, after) = (prefix.to_owned(), after.replace('\0', "\u{1}"));
        self.backend.list(prefix, after, page(limit)).await
    }

    /// Follows the events of all streams from after a position on, for as long as it is asked.
    pub fn tail(&self, after: Position) -> Tail {
        let after = Position::new(signed(after.get()));
        Tail::new(self.backend.clone(), after)
    }

    /// Follows the changes of all keys that begin with `prefix`, from after a position on.
    ///
    /// Of several changes of one key between two looks only the newest is told.
    pub fn watch(&self, prefix: &str, after: Position) -> Watch {
        let after = Position::new(signed(after.get()));
        Watch::new(self.backend.clone(), prefix.to_owned(), after)
    }

    /// Waits until a position is in the store, at most so long. False if it is not there by then.
    pub async fn wait_for(
        &self,
        position: Position,
        within: Duration,
    ) -> Result<bool, Unavailable> {
        let mut changed = self.backend.changed();
        let until = Instant::now().checked_add(within);
        loop {
            changed.mark_unchanged();
            if self.backend.head().await? >= position {
                return Ok(true);
            }
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(false);
            }
            let next = until.map_or(now + POLL, |until| until.min(now + POLL));
            // A hint or the next look, whichever is first. A backend that is gone says so at the next look.
            let _ = timeout_at(next, changed.changed()).await;
        }
    }

    /// Takes a name for so long, if nobody holds it.
    ///
    /// Every holding has a higher epoch than all before, and the take-over raises the claim's fence in the same commit:
    /// from then on nothing is written under an earlier one. An answer that was lost is settled by
    /// [`holder`](Self::holder), for which `owner` must be new for every try.
    pub async fn claim(
        &self,
        name: &str,
        owner: Owner,
        ttl: Duration,
    ) -> Result<Claim, ClaimError> {
        self.limits.check_name("claim", name)?;
        self.limits
            .check_name("the claim's fence", &fence_name(name))?;
        check_time("ttl", ttl)?;
        self.backend.claim(name.to_owned(), owner, ttl).await
    }

    /// Holds a claim for so long from now.
    ///
    /// # Errors
    ///
    /// [`ClaimError::Lost`] once its time is over, even if nobody has taken it since: claim again, for a new epoch.
    pub async fn renew(&self, claim: &Claim, ttl: Duration) -> Result<Claim, ClaimError> {
        check_time("ttl", ttl)?;
        self.backend.renew(claim.clone(), ttl).await
    }

    /// Gives a claim up, so that others need not wait. False if it was no longer held.
    pub async fn release(&self, claim: &Claim) -> Result<bool, Unavailable> {
        self.backend.release(claim.clone()).await
    }

    /// Who holds a claim now; none if nobody does.
    pub async fn holder(&self, name: &str) -> Result<Option<Claim>, Unavailable> {
        if can_not_be(name) {
            return Ok(None);
        }
        self.backend.holder(name.to_owned()).await
    }

    /// Takes expired keys away, so that watchers hear of it, and forgets old commits and deletions.
    ///
    /// A store on disk does it by itself once a minute. Returns how many keys have expired.
    pub async fn sweep(&self) -> Result<u64, Unavailable> {
        self.backend.sweep().await
    }

    /// Sweeps if a key has expired, and otherwise asks one question that changes nothing.
    ///
    /// A watch that looks after this says of each key that had expired before that it is gone.
    pub async fn expire(&self) -> Result<(), Unavailable> {
        if self.backend.has_expired().await? {
            self.backend.sweep().await?;
        }
        Ok(())
    }
}

/// A name with this in it is refused when it is written, and a database may not take it.
fn can_not_be(name: &str) -> bool {
    name.contains('\0')
}

/// Databases count in signed numbers; nothing is beyond.
fn signed(number: u64) -> u64 {
    number.min(i64::MAX.unsigned_abs())
}

fn page(limit: u32) -> u32 {
    limit.clamp(*PAGE.start(), *PAGE.end())
}
