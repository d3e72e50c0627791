//! The user's own rows in the same transaction.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use backstay_core::Effect;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join};

use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{IsolationLevel, Transaction};

use super::failure::Failure;
use super::group;
use super::ledger::Needs;
use super::server::{ATTEMPTS, Query, Server, ask_all, millis};
use super::value::uuid;
use super::write::write;
use super::{PostgresStore, read};
use crate::with::{CommitWithError, CommittedWith};
use crate::{Batch, BatchId, Position, Store, Transactional};

/// The server stops the work's statement a little after we do, so that ours is the error that is told.
const LATER: Duration = Duration::from_millis(100);

impl PostgresStore {
    /// Commits a batch together with rows of your own tables in the same database.
    ///
    /// `work` runs in a transaction of its own (read committed), before the batch's changes and before the store's lock
    /// is taken: nobody's writes wait for it. It may run more than once, when the transaction meets others; what its
    /// last run did counts. It must not end the transaction or change the session's settings other than by `SET LOCAL`.
    /// A statement of it that failed fails the transaction, unless it was in a savepoint. Behind a pooler that gives each
    /// transaction another connection it must prepare nothing, as `execute` and `query` do with a text: use `execute_typed`,
    /// `query_typed` or `batch_execute`.
    ///
    /// ```no_run
    /// # use backstay_store::{Batch, Event, PostgresStore};
    /// # async fn pay(store: &PostgresStore) -> Result<(), Box<dyn std::error::Error>> {
    /// let paid = Batch::new().append("order-7", Event::new("paid", ""));
    /// let update = "UPDATE orders SET paid = true WHERE id = 7";
    /// let done = store
    ///     .commit_with(paid, |rows| Box::pin(rows.execute(update, &[])))
    ///     .await?;
    /// println!("{:?} rows", done.output);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CommitWithError::TookTooLong`] after the [work's time](super::PostgresOptions::work_timeout): its statement is
    /// stopped, the connection closed and the transaction rolled back.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes its connection: the transaction is rolled back, unless its commit was sent already.
    pub async fn commit_with<T, E>(
        &self,
        batch: Batch,
        work: impl for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<T, E>> + Send + Sync,
    ) -> Result<CommittedWith<T>, CommitWithError<E>>
    where
        T: Send,
        E: Send,
    {
        let checked = self.shared.server.options.limits.check(&batch);
        checked.map_err(|invalid| CommitWithError::Commit(invalid.into()))?;
        self.attempts(batch.id, &work, |output| Ok((batch.clone(), output)))
            .await
    }

    /// Commits rows of your own together with the batch that the work makes of them.
    ///
    /// Like [`commit_with`](Self::commit_with), for a batch that says what came of the work. It gets this id, whichever it
    /// was made with.
    pub async fn commit_from<T, E>(
        &self,
        id: BatchId,
        work: impl for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<(Batch, T), E>> + Send + Sync,
    ) -> Result<CommittedWith<T>, CommitWithError<E>>
    where
        T: Send,
        E: Send,
    {
        self.attempts(id, &work, Ok).await
    }

    async fn attempts<O, E, T, F: From<E>>(
        &self,
        id: BatchId,
        work: &(impl for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<O, E>> + Send + Sync),
        made: impl Fn(O) -> Result<(Batch, T), F>,
    ) -> Result<CommittedWith<T>, CommitWithError<F>> {
        let server = &self.shared.server;
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match attempt(server, id, work, &made).await {
                Ok(Done::Committed(done, head)) => {
                    self.shared.hint.committed(head);
                    return Ok(done);
                }
                Ok(Done::Before) => {
                    let found = read::commit(server, id).await?;
                    let commit = found.ok_or(Failure::NoState);
                    let commit = commit.map_err(|lost| lost.told(Effect::Executed))?;
                    return Ok(CommittedWith {
                        commit,
                        output: None,
                    });
                }
                Err(Ended::ByWork(error)) => return Err(error),
                Err(Ended::Lost(failure, effect)) => {
                    let again = effect == Effect::NotExecuted && failure.is_passing();
                    if !again || left == 0 {
                        return Err(failure.told(effect).into());
                    }
                }
            }
        }
    }
}

impl Transactional for PostgresStore {
    type Rows<'t> = Transaction<'t>;
    type Worked<'t, O, E> = BoxFuture<'t, Result<O, E>>;

    fn store(&self) -> Store {
        self.store.clone()
    }

    async fn commit_made<O, E, T, F>(
        &self,
        id: BatchId,
        work: impl for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<O, E>>
        + Send
        + Sync
        + 'static,
        made: impl Fn(O) -> Result<(Batch, T), F> + Send + Sync + 'static,
    ) -> Result<CommittedWith<T>, CommitWithError<F>>
    where
        O: Send + 'static,
        E: Send + 'static,
        T: Send + 'static,
        F: From<E> + Send + 'static,
    {
        self.attempts(id, &work, made).await
    }
}

enum Done<T> {
    Committed(CommittedWith<T>, Position),
    /// By an earlier try; what the work did now was rolled back.
    Before,
}

enum Ended<E> {
    /// By the work, or by the batch.
    ByWork(CommitWithError<E>),
    Lost(Failure, Effect),
}

impl<E> From<Failure> for Ended<E> {
    fn from(failure: Failure) -> Self {
        Self::Lost(failure, Effect::NotExecuted)
    }
}

async fn attempt<O, E, T, F: From<E>>(
    server: &Server,
    id: BatchId,
    work: &(impl for<'t> Fn(&'t Transaction<'t>) -> BoxFuture<'t, Result<O, E>> + Send + Sync),
    made: &impl Fn(O) -> Result<(Batch, T), F>,
) -> Result<Done<T>, Ended<F>> {
    let mut session = server.lend(&server.pool).await?;
    let begin = session
        .client_mut()
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .read_only(false)
        .start();
    let transaction = server.within(begin).await?;
    let Some(number) = prepare(server, &transaction, id).await? else {
        server.within(transaction.rollback()).await?;
        session.keep();
        return Ok(Done::Before);
    };

    let limit = server.options.work_timeout;
    let running = async { work(&transaction).await };
    let worked = match timeout(limit, AssertUnwindSafe(running).catch_unwind()).await {
        Ok(Ok(worked)) => worked,
        Ok(Err(_)) => return Err(Ended::ByWork(CommitWithError::Panicked)),
        Err(_) => return Err(Ended::ByWork(CommitWithError::TookTooLong { limit })),
    };
    let (mut batch, output) = match worked.map_err(F::from).and_then(made) {
        Ok(made) => made,
        Err(error) => {
            server.within(transaction.rollback()).await?;
            session.keep();
            return Err(Ended::ByWork(CommitWithError::Work(error)));
        }
    };

    batch.id = id;
    let checked = server.options.limits.check(&batch);
    checked
        .map_err(|invalid| CommitWithError::Commit(invalid.into()))
        .map_err(Ended::ByWork)?;
    let mut needs = Needs::default();
    needs.batch(&batch);
    let loaded = group::load(server, transaction.client(), "", &needs).await?;
    let (mut ledger, same) = loaded;
    if same != number {
        return Err(Ended::ByWork(CommitWithError::Ended));
    }
    let decided = if ledger.commits.contains_key(&id) {
        Ok(None)
    } else {
        ledger.commit(&batch).map(Some)
    };
    let commit = match decided {
        Ok(Some(commit)) => commit,
        refused => {
            server.within(transaction.rollback()).await?;
            session.keep();
            let refused = refused.map(|_| Done::Before);
            return refused.map_err(|error| Ended::ByWork(CommitWithError::Commit(error)));
        }
    };
    write(server, transaction.client(), &ledger, "").await?;
    let head = ledger.head;
    let committed = server.within(transaction.commit()).await;
    committed.map_err(|failure| {
        let effect = failure.effect_of_commit();
        Ended::Lost(failure, effect)
    })?;
    session.keep();
    let output = Some(output);
    Ok(Done::Committed(CommittedWith { commit, output }, head))
}

/// Bounds the work's time, and tells the transaction's number; none if the batch was committed before.
async fn prepare(
    server: &Server,
    transaction: &Transaction<'_>,
    id: BatchId,
) -> Result<Option<i64>, Failure> {
    let client = transaction.client();
    let millis = millis(server.options.work_timeout + LATER);
    let bounds = format!(
        "SET LOCAL statement_timeout = {millis}; \
         SET LOCAL idle_in_transaction_session_timeout = {millis}"
    );
    let batch = uuid(id);
    let asked = [
        Query::new("SELECT txid_current()".to_owned(), []),
        Query::new(
            format!("SELECT FROM {}.commits WHERE batch = $1", server.schema()),
            [(&batch as _, Type::UUID)],
        ),
    ];
    let answers = try_join(client.batch_execute(&bounds), ask_all(client, &asked));
    let ((), answers) = server.within(answers).await?;
    let [number, found] = &answers[..] else {
        return Err(Failure::NoState);
    };
    if !found.is_empty() {
        return Ok(None);
    }
    let number = number.first().ok_or(Failure::NoState)?;
    Ok(Some(number.try_get(0)?))
}
