//! The work, the record and the answer in one commit.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::{Effect, Invalid};
use backstay_store::{
    Batch, BatchId, CommitError, CommitWithError, CommittedWith, Expected, Owner, Position,
    Transactional, Unavailable,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::to_raw_value;
use tokio::time::sleep;

use crate::commit::PAUSES;
use crate::envelope::written;
use crate::key::Names;
use crate::options::RETRY_AFTER;
use crate::records::{LookError, ROUNDS, Records, Seen};
use crate::withdraw::Withdrawal;
use crate::{Fingerprint, Idempotency, Kept, KeptError, Key, WithdrawError, Withdrawn};

/// What the work of a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Done<T> {
    /// What the work returned, now or when it was done.
    pub answer: T,
    /// Whether it was done by an earlier call.
    pub replayed: bool,
}

/// Why there is no answer. Nothing of the work stays, unless the error says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The key is empty.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The key was used for another request.
    #[error("the key was used for another request")]
    Mismatch,
    /// The key was [withdrawn](Idempotency::withdraw): its work is not to be done any more.
    #[error("the key was withdrawn")]
    Withdrawn {
        /// What was done under it before: nothing, or what is not known here, for it may be undone by now.
        effect: Effect,
    },
    /// Somebody holds a [`Guard`](crate::Guard) of this key, or of the one that is undone.
    #[error("the work of this key is running; ask again in {retry_after:?}")]
    Running {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The work said no, and [`source`](std::error::Error::source) says why. The key is free.
    ///
    /// On SQLite `not authorized` comes of the guard that keeps work from the transaction, settings and the store's tables.
    #[error("the work failed")]
    Work(#[source] E),
    /// The answer can't be written as JSON.
    #[error("the answer can't be written as JSON")]
    Answer(#[source] serde_json::Error),
    /// What is kept can't be read. The work is not run again.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// Others came and went all the time.
    #[error("others were faster every time")]
    Contended,
    /// The work took more time than it may.
    #[error("the work took longer than {limit:?}")]
    TookTooLong {
        /// As long as it may take.
        limit: Duration,
    },
    /// The work panicked.
    #[error("the work panicked")]
    Panicked,
    /// The work ended the transaction that it was given. What it did may be committed; the answer is not kept.
    #[error("the work ended the transaction")]
    Ended,
    /// The store can't say, or can't commit. Its effect says whether everything may be there; asking again settles it.
    #[error(transparent)]
    Commit(CommitError),
}

impl<E> From<LookError> for RunError<E> {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Mismatch => Self::Mismatch,
            LookError::Withdrawn(was) => Self::Withdrawn {
                effect: was.effect(),
            },
            LookError::Kept(error) => Self::Kept(error),
            LookError::Unavailable(error) => Self::Commit(error.into()),
        }
    }
}

impl<E> From<WithdrawError> for RunError<E> {
    fn from(error: WithdrawError) -> Self {
        match error {
            WithdrawError::Running { retry_after } => Self::Running { retry_after },
            WithdrawError::Kept(error) => Self::Kept(error),
            WithdrawError::Contended => Self::Contended,
            WithdrawError::Commit(error) => Self::Commit(error),
        }
    }
}

/// Why a transaction was not committed, apart from the store's reasons.
enum Failed<E> {
    Work(E),
    Answer(serde_json::Error),
}

impl<E> From<E> for Failed<E> {
    fn from(error: E) -> Self {
        Self::Work(error)
    }
}

impl<S> Idempotency<S> {
    /// Runs the work of a key, once: its rows, the record and the answer are one commit.
    ///
    /// Work that returns an error leaves nothing, and the key is free. What the work may do, and how long, is said at
    /// `commit_with` of the store. It may run more than once, and beside another that has the same key; one of all is
    /// committed.
    ///
    /// ```
    /// use backstay_idempotency::{Fingerprint, Idempotency, Key};
    /// use backstay_store::sqlite::rusqlite;
    /// use backstay_store::{Batch, SqliteStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let store = SqliteStore::open(folder.path().join("orders.db")).await?;
    /// let table = "CREATE TABLE IF NOT EXISTS orders (item TEXT)";
    /// store.commit_with(Batch::new(), move |rows| rows.execute_batch(table)).await?;
    /// let once = Idempotency::new(store)?;
    ///
    /// let request = ("alice", "tea");
    /// let key = Key::new(["orders", request.0, "key-of-the-client"]);
    /// for replayed in [false, true] {
    ///     let done = once
    ///         .run(&key, &Fingerprint::of(&request)?, move |rows| {
    ///             rows.execute("INSERT INTO orders VALUES (?1)", [request.1])?;
    ///             Ok::<_, rusqlite::Error>(rows.last_insert_rowid())
    ///         })
    ///         .await?;
    ///     assert_eq!((done.answer, done.replayed), (1, replayed));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the work is committed; the next call with the key says.
    pub async fn run<T, E>(
        &self,
        key: impl Into<Key> + Send,
        fingerprint: &Fingerprint,
        work: impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, T, E> + Send + Sync + 'static,
    ) -> Result<Done<T>, RunError<E>>
    where
        S: Transactional,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
    {
        let key = key.into();
        key.check()?;
        let names = key.names();
        self.run_undoing(None, &names, fingerprint, move |rows, _| work(rows))
            .await
    }

    /// Runs the work of a key, and withdraws another with it.
    pub(crate) async fn run_undoing<T, E>(
        &self,
        undone: Option<&Names>,
        names: &Names,
        fingerprint: &Fingerprint,
        work: impl for<'t> Fn(&'t S::Rows<'t>, Withdrawn) -> S::Worked<'t, T, E> + Send + Sync + 'static,
    ) -> Result<Done<T>, RunError<E>>
    where
        S: Transactional,
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
    {
        let work = Arc::new(work);
        let owner = Owner::new();
        for _ in 0..ROUNDS {
            let expected = match self.records.look(names, fingerprint).await? {
                Seen::Finished(kept) => return replay(&kept, owner),
                Seen::Running => {
                    return Err(RunError::Running {
                        retry_after: RETRY_AFTER,
                    });
                }
                Seen::Free(expected) => expected,
            };
            let withdrawal = match undone {
                Some(undone) => Some(self.records.withdrawal(undone).await?),
                None => None,
            };
            let made = Made {
                records: self.records.clone(),
                names: names.clone(),
                fingerprint: fingerprint.clone(),
                owner,
                expected,
                withdrawal,
            };
            match self.settled(work.clone(), made).await {
                Ok(CommittedWith {
                    output: Some(answer),
                    ..
                }) => {
                    return Ok(Done {
                        answer,
                        replayed: false,
                    });
                }
                // It was committed by a try whose answer was lost, or somebody else was first: look again.
                Ok(_) | Err(CommitWithError::Commit(CommitError::Conflict(_))) => {}
                Err(CommitWithError::Work(Failed::Work(error))) => {
                    // Rows of somebody who was first, or who has undone it, can be in the way of this work.
                    return match self.records.look(names, fingerprint).await {
                        Ok(Seen::Finished(kept)) => replay(&kept, owner),
                        Err(refused @ LookError::Withdrawn(_)) => Err(refused.into()),
                        _ => Err(RunError::Work(error)),
                    };
                }
                Err(error) => return Err(told(error)),
            }
        }
        Err(RunError::Contended)
    }
}

impl<S: Transactional> Idempotency<S> {
    /// Commits, again under the same id while it is not known whether it was.
    async fn settled<T, E, W>(
        &self,
        work: Arc<W>,
        made: Made,
    ) -> Result<CommittedWith<T>, CommitWithError<Failed<E>>>
    where
        W: for<'t> Fn(&'t S::Rows<'t>, Withdrawn) -> S::Worked<'t, T, E> + Send + Sync + 'static,
        T: Serialize + Send + 'static,
        E: Send + 'static,
    {
        let id = BatchId::new();
        let mut pauses = PAUSES.into_iter();
        let mut unknown: Option<Unavailable> = None;
        loop {
            let (work, made) = (work.clone(), made.clone());
            let was = made.was();
            // Boxed: else the compiler can't see that whoever awaits it is `Send` where the work has borrowed for ever.
            let trying: Pin<Box<dyn Future<Output = _> + Send + '_>> =
                Box::pin(self.backend.commit_made(
                    id,
                    move |rows| work(rows, was.clone()),
                    move |answer| made.batch(answer),
                ));
            let tried: Result<CommittedWith<T>, _> = trying.await;
            let Err(CommitWithError::Commit(CommitError::Unavailable(error))) = &tried else {
                return tried;
            };
            if error.effect() == Effect::Unknown {
                unknown = Some(error.clone());
            }
            match (unknown.clone(), pauses.next()) {
                (Some(_), Some(pause)) => sleep(pause).await,
                (Some(unknown), None) => return Err(unknown.into()),
                (None, _) => return tried,
            }
        }
    }
}

/// How a batch is made of the work's answer.
#[derive(Clone)]
struct Made {
    records: Records,
    names: Names,
    fingerprint: Fingerprint,
    owner: Owner,
    expected: Expected<Position>,
    /// Of the key that is undone.
    withdrawal: Option<Withdrawal>,
}

impl Made {
    /// What is known of the work that is undone. Work that undoes nothing does not ask.
    fn was(&self) -> Withdrawn {
        let withdrawal = self.withdrawal.as_ref();
        withdrawal.map_or(Withdrawn::Unseen, |withdrawal| withdrawal.was.clone())
    }

    fn batch<T: Serialize, E>(&self, answer: T) -> Result<(Batch, T), Failed<E>> {
        let raw = to_raw_value(&answer).map_err(Failed::Answer)?;
        let bytes = written(&self.fingerprint, self.owner, Some(&raw));
        let (record, put) = self.records.finished(&self.names, bytes, self.expected);
        // Refused while somebody holds a guard of this key.
        let batch = Batch::new().delete(&self.names.run, Expected::Absent);
        let batch = batch.put(record, put);
        let batch = match &self.withdrawal {
            Some(withdrawal) => withdrawal.add_to(batch, &self.records),
            None => batch,
        };
        Ok((batch, answer))
    }
}

fn replay<T: DeserializeOwned, E>(kept: &Kept, owner: Owner) -> Result<Done<T>, RunError<E>> {
    Ok(Done {
        answer: kept.answer()?,
        replayed: kept.owner != owner.to_string(),
    })
}

fn told<E>(error: CommitWithError<Failed<E>>) -> RunError<E> {
    match error {
        CommitWithError::Work(Failed::Work(error)) => RunError::Work(error),
        CommitWithError::Work(Failed::Answer(error)) => RunError::Answer(error),
        CommitWithError::TookTooLong { limit } => RunError::TookTooLong { limit },
        CommitWithError::Panicked => RunError::Panicked,
        CommitWithError::Commit(error) => RunError::Commit(error),
        // The last there is, and what may yet come.
        _ => RunError::Ended,
    }
}
