//! The user's own rows in the same transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Transaction;
use tokio::sync::oneshot;

use super::writer::{Group, Job};
use super::{SqliteStore, apply};
use crate::with::{CommitWithError, CommittedWith};
use crate::{Batch, Cause, Effect, Unavailable};

impl SqliteStore {
    /// Commits a batch together with rows of your own tables in the same file.
    ///
    /// `work` runs on the thread that writes, after the batch's changes, and everybody else's writes wait for it: only
    /// statements belong in it, no waiting and no network. It may run more than once, when others in the same group fail;
    /// what its last run did counts. It can't end the transaction, change settings, or write to the store's tables.
    ///
    /// # Errors
    ///
    /// [`CommitWithError::TookTooLong`] after the [work's time](super::SqliteOptions::work_timeout): SQLite is stopped, and
    /// code that does not return is waited for.
    pub async fn commit_with<T, E>(
        &self,
        batch: Batch,
        work: impl Fn(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<CommittedWith<T>, CommitWithError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let limits = &self.file.options.limits;
        limits
            .check(&batch)
            .map_err(|invalid| CommitWithError::Commit(invalid.into()))?;
        let (reply, answer) = oneshot::channel();
        let job = Job::new(
            move |group: &mut Group<'_>| run(group, &batch, &work),
            reply,
        );
        self.file.writer.ask(Box::new(job)).await?;
        answer
            .await
            .unwrap_or_else(|_| Err(Unavailable::new(Cause::Closed, Effect::Unknown).into()))
    }
}

fn run<T, E>(
    group: &mut Group<'_>,
    batch: &Batch,
    work: &impl Fn(&Transaction<'_>) -> Result<T, E>,
) -> Result<CommittedWith<T>, CommitWithError<E>> {
    let found = super::read::commit(group.transaction, batch.id)?;
    if let Some(commit) = found {
        return Ok(CommittedWith {
            commit,
            output: None,
        });
    }
    let commit = apply::apply(group, batch).map_err(CommitWithError::Commit)?;
    let limit = group.options.work_timeout;
    let worked = group.guard.around(limit, || {
        catch_unwind(AssertUnwindSafe(|| work(group.transaction)))
    });
    let Ok(worked) = worked else {
        return Err(CommitWithError::TookTooLong { limit });
    };
    match worked {
        Ok(Ok(output)) => Ok(CommittedWith {
            commit,
            output: Some(output),
        }),
        Ok(Err(error)) => Err(CommitWithError::Work(error)),
        Err(_) => Err(CommitWithError::Panicked),
    }
}
