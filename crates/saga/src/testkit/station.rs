//! A worker's way to the store, on which it can be killed and stopped.

use std::sync::Arc;
use std::time::Duration;

use backstay_store::{
    Backend, Batch, BatchId, Capabilities, Cause, Change, Claim, ClaimError, Commit, CommitError,
    Effect, Entry, MemoryStore, Owner, Pending, Position, Recorded, Unavailable, Version,
};
use futures_util::FutureExt;
use tokio::sync::watch;

use super::plan::{AtCommit, Plan, Struck};

/// The same store for each worker, and a gate of its own.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) store: Arc<MemoryStore>,
    pub(super) plan: Arc<Plan>,
    pub(super) gate: watch::Sender<Option<Struck>>,
}

impl Station {
    /// Waits as long as the worker is stopped; for ever, if it is dead.
    async fn pass(&self) {
        self.wait_for(Option::is_none).await;
    }

    /// The same for a record, which goes first when the worker wakes: before it hears that it was replaced.
    async fn pass_first(&self) {
        self.wait_for(|gate| matches!(gate, None | Some(Struck::Waking)))
            .await;
    }

    async fn wait_for(&self, is_open: impl FnMut(&Option<Struck>) -> bool) {
        let mut gate = self.gate.subscribe();
        // It lives as long as this.
        let _ = gate.wait_for(is_open).await;
    }

    async fn strike(&self, struck: Struck) {
        self.gate.send_replace(Some(struck));
        self.plan.struck.send_replace(Some(struck));
        self.pass_first().await;
    }
}

macro_rules! through {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)+) => { $(
        fn $name(&self, $($arg: $type),*) -> $answer {
            async move {
                self.pass().await;
                let answer = self.store.$name($($arg),*).await;
                self.pass().await;
                answer
            }
            .boxed()
        }
    )+ };
}

impl Backend for Station {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        async move {
            if batch.streams().next().is_none() {
                self.pass().await;
                return self.store.commit(batch).await;
            }
            self.pass_first().await;
            let at = self.plan.at_commit();
            if let AtCommit::StrikeBefore(struck) = at {
                self.strike(struck).await;
            }
            let answer = self.store.commit(batch).await;
            match at {
                AtCommit::StrikeAfter(struck) => {
                    self.strike(struck).await;
                    answer
                }
                AtCommit::LoseReply => {
                    Err(Unavailable::new(Cause::Storage, Effect::Unknown).into())
                }
                AtCommit::Pass | AtCommit::StrikeBefore(_) => answer,
            }
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.store.changed()
    }

    through! {
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
        sweep() -> Pending<'_, u64>;
    }
}
