use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    Batch, BatchId, Change, Claim, ClaimError, Commit, CommitError, Entry, Owner, Position,
    Recorded, Unavailable, Version,
};

/// What a backend's methods return.
pub type Pending<'a, T, E = Unavailable> = BoxFuture<'a, Result<T, E>>;

/// A place where a [`Store`](crate::Store) keeps what it holds.
///
/// The conformance suite (feature `test-util`) says what each method has to do; what a user may rely on stands at the
/// methods of [`Store`](crate::Store). Limits were checked before a backend is asked. Dropping a returned future does
/// not take back what it asked for: it may still happen.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// What can be relied on.
    fn capabilities(&self) -> Capabilities;

    /// Applies a batch, or finds the commit of the same id.
    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError>;

    /// The commit of a batch.
    fn find(&self, id: BatchId) -> Pending<'_, Option<Commit>>;

    /// The position of the last commit.
    fn head(&self) -> Pending<'_, Position>;

    /// Events of one stream after a version, at most `limit`, in order.
    fn read(&self, stream: String, after: Version, limit: u32) -> Pending<'_, Vec<Recorded>>;

    /// Events of all streams after a position, at most `limit`, in order.
    fn read_all(&self, after: Position, limit: u32) -> Pending<'_, Vec<Recorded>>;

    /// The value of a key that is there and has not expired.
    fn get(&self, key: String) -> Pending<'_, Option<Entry>>;

    /// Keys that begin with `prefix` and lie after `after`, at most `limit`, in the order of their bytes.
    fn list(&self, prefix: String, after: String, limit: u32) -> Pending<'_, Vec<Entry>>;

    /// The newest change of each key that begins with `prefix` and changed after a position, at most `limit`, in the
    /// order of their positions; or how far deletions are forgotten, where that is after the position.
    fn changes(
        &self,
        prefix: String,
        after: Position,
        limit: u32,
    ) -> Pending<'_, Result<Vec<Change>, Position>>;

    /// Takes a claim that nobody holds.
    fn claim(&self, name: String, owner: Owner, ttl: Duration) -> Pending<'_, Claim, ClaimError>;

    /// Holds a claim for longer.
    fn renew(&self, claim: Claim, ttl: Duration) -> Pending<'_, Claim, ClaimError>;

    /// Gives a claim up. True if it was still held.
    fn release(&self, claim: Claim) -> Pending<'_, bool>;

    /// Who holds a claim now.
    fn holder(&self, name: String) -> Pending<'_, Option<Claim>>;

    /// Whether a key has expired that was not taken away yet. It changes nothing.
    fn has_expired(&self) -> Pending<'_, bool>;

    /// Takes expired keys away and forgets what is old. Returns how many keys have expired.
    fn sweep(&self) -> Pending<'_, u64>;

    /// Changes when something was committed, as a hint: not every commit shows, and not at once.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// What can be relied on in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What an acknowledged commit survives.
    pub durability: Durability,
    /// Whether a commit of another process is hinted at, or found by polling only.
    pub notifies_across_processes: bool,
}

impl Capabilities {
    /// For a backend: this durability, and nothing more.
    pub fn new(durability: Durability) -> Self {
        Self {
            durability,
            notifies_across_processes: false,
        }
    }
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it ends with the process.
    None,
    /// `kill -9` and loss of power.
    PowerLoss,
}
