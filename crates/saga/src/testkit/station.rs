//! A worker's way to the store, on which it can be killed and stopped.

use std::sync::Arc;
use std::time::Duration;

use backstay_store::{
    Backend, Batch, Between, Cause, Commit, CommitError, Effect, MemoryStore, Pending, Unavailable,
};
use futures_util::FutureExt;

use super::case::Kind;
use super::plan::{Plan, Struck};

/// The same store for each worker, and a gate of its own.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) store: Arc<MemoryStore>,
    pub(super) plan: Arc<Plan>,
}

/// Less than a worker's claims last.
const AWAY: Duration = Duration::from_secs(3);
/// More than a worker's claims last.
const GONE: Duration = Duration::from_secs(12);

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
        let mut gate = self.plan.gate.subscribe();
        // It lives as long as this.
        let _ = gate.wait_for(is_open).await;
    }

    async fn strike(&self, struck: Struck) {
        self.plan.gate.send_replace(Some(struck));
        self.pass_first().await;
    }

    fn is_there(&self) -> Result<(), Unavailable> {
        if self.plan.course.is_away() {
            return Err(Unavailable::new(Cause::Storage, Effect::NotExecuted));
        }
        Ok(())
    }

    async fn before(&self, kinds: &[Kind]) {
        for kind in kinds {
            match kind {
                Kind::KillBefore => self.strike(Struck::Killed).await,
                Kind::StopBefore => self.strike(Struck::Stopped).await,
                Kind::AwayBefore => self.plan.course.go_away(AWAY),
                Kind::GoneBefore => self.plan.course.go_away(GONE),
                Kind::Person => self.plan.course.person().await,
                _ => {}
            }
        }
    }

    async fn after(&self, kinds: &[Kind]) -> Result<(), Unavailable> {
        for kind in kinds {
            match kind {
                Kind::KillAfter => self.strike(Struck::Killed).await,
                Kind::StopAfter => self.strike(Struck::Stopped).await,
                Kind::AwayAfter => self.plan.course.go_away(AWAY),
                Kind::GoneAfter => self.plan.course.go_away(GONE),
                _ => {}
            }
            if matches!(kind, Kind::AwayAfter | Kind::GoneAfter | Kind::LostCommit) {
                return Err(Unavailable::new(Cause::Storage, Effect::Unknown));
            }
        }
        Ok(())
    }
}

impl Between for Station {
    type Below = MemoryStore;

    fn below(&self) -> &MemoryStore {
        &self.store
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        async move {
            if batch.streams().next().is_none() {
                self.pass().await;
                self.is_there()?;
                return self.store.commit(batch).await;
            }
            self.pass_first().await;
            self.is_there()?;
            let kinds = self.plan.course.at_commit();
            self.before(&kinds).await;
            self.is_there()?;
            let answer = self.store.commit(batch).await;
            self.after(&kinds).await?;
            answer
        }
        .boxed()
    }

    fn ask<'s, T, E>(&'s self, asked: Pending<'s, T, E>) -> Pending<'s, T, E>
    where
        T: Send + 's,
        E: From<Unavailable> + Send + 's,
    {
        async move {
            self.pass().await;
            self.is_there()?;
            let answer = asked.await;
            self.pass().await;
            answer
        }
        .boxed()
    }
}
