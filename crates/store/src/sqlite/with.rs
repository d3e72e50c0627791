//! The user's own rows in the same transaction.

use rusqlite::Transaction;
use tokio::sync::oneshot;

use super::writer::{Group, Job, contained};
use super::{SqliteStore, apply};
use crate::with::{CommitWithError, CommittedWith};
use crate::{Batch, BatchId, Cause, Effect, Store, Transactional, Unavailable};

impl SqliteStore {
    /// Commits a batch together with rows of your own tables in the same file.
    ///
    /// `work` runs on the thread that writes, before the batch's changes, and everybody else's writes wait for it: only
    /// statements belong in it, no waiting and no network. It may run more than once, when others in the same group fail;
    /// what its last run did counts. It is kept from ending the transaction, changing settings and writing to the store's
    /// tables by mistake; the store's own statements, word for word and by `prepare_cached`, pass.
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
        let checked = self.file.options.limits.check(&batch);
        checked.map_err(|invalid| CommitWithError::Commit(invalid.into()))?;
        let id = batch.id;
        let both = move |rows: &Transaction<'_>| Ok((batch.clone(), work(rows)?));
        self.commit_from(id, both).await
    }

    /// Commits rows of your own together with the batch that the work makes of them.
    ///
    /// Like [`commit_with`](Self::commit_with), for a batch that says what came of the work. It gets this id, whichever it
    /// was made with.
    pub async fn commit_from<T, E>(
        &self,
        id: BatchId,
        work: impl Fn(&Transaction<'_>) -> Result<(Batch, T), E> + Send + 'static,
    ) -> Result<CommittedWith<T>, CommitWithError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = move |group: &mut Group<'_>| {
            // Also what the work has made is the user's, and dropped where the batch is refused.
            contained(|| run(group, id, &work)).unwrap_or(Err(CommitWithError::Panicked))
        };
        let job = Job::of_user(run, reply);
        self.file.writer.ask(Box::new(job)).await?;
        answer
            .await
            .unwrap_or_else(|_| Err(Unavailable::new(Cause::Closed, Effect::Unknown).into()))
    }
}

impl Transactional for SqliteStore {
    type Rows<'t> = Transaction<'t>;
    type Worked<'t, O, E> = Result<O, E>;

    fn store(&self) -> Store {
        self.store.clone()
    }

    async fn commit_made<O, E, T, F>(
        &self,
        id: BatchId,
        work: impl for<'t> Fn(&'t Transaction<'t>) -> Result<O, E> + Send + Sync + 'static,
        made: impl Fn(O) -> Result<(Batch, T), F> + Send + Sync + 'static,
    ) -> Result<CommittedWith<T>, CommitWithError<F>>
    where
        O: Send + 'static,
        E: Send + 'static,
        T: Send + 'static,
        F: From<E> + Send + 'static,
    {
        let both = move |rows: &Transaction<'_>| made(work(rows)?);
        self.commit_from(id, both).await
    }
}

fn run<T, E>(
    group: &mut Group<'_>,
    id: BatchId,
    work: &impl Fn(&Transaction<'_>) -> Result<(Batch, T), E>,
) -> Result<CommittedWith<T>, CommitWithError<E>> {
    let found = super::read::commit(group.transaction, id)?;
    if let Some(commit) = found {
        return Ok(CommittedWith {
            commit,
            output: None,
        });
    }
    let limit = group.options.work_timeout;
    let worked = group
        .guard
        .around(limit, || contained(|| work(group.transaction)));
    let (mut batch, output) = match worked {
        Ok(Some(Ok(made))) => made,
        Ok(Some(Err(error))) => return Err(CommitWithError::Work(error)),
        Ok(None) => return Err(CommitWithError::Panicked),
        Err(_) => return Err(CommitWithError::TookTooLong { limit }),
    };
    // Else each of the batch's changes would be committed alone.
    if group.transaction.is_autocommit() {
        return Err(CommitWithError::Ended);
    }
    batch.id = id;
    let checked = group.options.limits.check(&batch);
    checked.map_err(|invalid| CommitWithError::Commit(invalid.into()))?;
    let commit = apply::apply(group, &batch).map_err(CommitWithError::Commit)?;
    Ok(CommittedWith {
        commit,
        output: Some(output),
    })
}
