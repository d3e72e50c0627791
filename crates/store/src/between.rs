use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

use crate::{
    Backend, Batch, BatchId, Capabilities, Change, Claim, ClaimError, Commit, CommitError, Entry,
    Owner, Pending, Position, Recorded, Unavailable, Version,
};

/// What a test puts between a store and those who ask it: a network that loses answers, a worker that stands still.
///
/// Whatever is this is a [`Backend`], which passes on what it is asked.
pub trait Between: fmt::Debug + Send + Sync + Sized + 'static {
    /// What is asked in the end.
    type Below: Backend;

    /// The backend that is asked in the end.
    fn below(&self) -> &Self::Below;

    /// A commit. Unless told it is passed on.
    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        self.below().commit(batch)
    }

    /// All else, which is asked when `asked` is polled. Unless told it is passed on.
    fn ask<'s, T, E>(&'s self, asked: Pending<'s, T, E>) -> Pending<'s, T, E>
    where
        T: Send + 's,
        E: From<Unavailable> + Send + 's,
    {
        asked
    }
}

macro_rules! asked {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)+) => { $(
        fn $name(&self, $($arg: $type),*) -> $answer {
            self.ask(async move { self.below().$name($($arg),*).await }.boxed())
        }
    )+ };
}

impl<B: Between> Backend for B {
    fn capabilities(&self) -> Capabilities {
        self.below().capabilities()
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        Between::commit(self, batch)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.below().changed()
    }

    asked! {
        find(id: BatchId) -> Pending<'_, Option<Commit>>;
        head() -> Pending<'_, Position>;
        read(stream: String, after: Version, limit: u32) -> Pending<'_, Vec<Recorded>>;
        read_all(after: Position, limit: u32) -> Pending<'_, Vec<Recorded>>;
        get(key: String) -> Pending<'_, Option<Entry>>;
        list(prefix: String, after: String, limit: u32) -> Pending<'_, Vec<Entry>>;
        changes(prefix: String, after: Position, limit: u32)
            -> Pending<'_, Result<Vec<Change>, Position>>;
        claim(name: String, owner: Owner, ttl: Duration) -> Pending<'_, Claim, ClaimError>;
        renew(claim: Claim, ttl: Duration) -> Pending<'_, Claim, ClaimError>;
        release(claim: Claim) -> Pending<'_, bool>;
        holder(name: String) -> Pending<'_, Option<Claim>>;
        has_expired() -> Pending<'_, bool>;
        sweep() -> Pending<'_, u64>;
    }
}
