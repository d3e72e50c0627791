use std::error::Error;
use std::time::Duration;

use backstay_store::{
    Batch, BatchId, CommitError, CommitWithError, Conflict, Expected, Put, Transactional,
};

use super::Message;
use crate::Invalid;
use crate::hash;
use crate::name::check_name;

/// Takes messages once: what is done for one, and that it was, are one commit.
///
/// `S` is the store whose database has what is done: `SqliteStore` or `PostgresStore`.
#[derive(Clone, Debug)]
pub struct Inbox<S> {
    store: S,
    name: String,
    remember: Duration,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// It was taken now, and this came of it.
    Now(T),
    /// It was taken before: nothing was done.
    Before,
}

/// Why a message was not taken. Nothing of what is done for it is there, but where the effect of a commit is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError<E: Error + 'static> {
    /// The work says no.
    #[error("the work failed")]
    Work(#[source] E),
    /// The store, or what runs the work in it.
    #[error(transparent)]
    Store(CommitWithError<E>),
}

/// Longer than any relay is down, and any message waits for a person over a weekend.
const REMEMBER: Duration = Duration::from_secs(14 * 24 * 3_600);
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// What says no inside the transaction.
struct Refused<E>(E);

impl<E> From<E> for Refused<E> {
    fn from(error: E) -> Self {
        Self(error)
    }
}

impl<S: Transactional> Inbox<S> {
    /// An inbox of this name. Each name takes each message once.
    pub fn new(store: &S, name: impl Into<String>) -> Result<Self, Invalid> {
        let name = name.into();
        check_name("name", &name)?;
        Ok(Self {
            store: store.clone(),
            name,
            remember: REMEMBER,
        })
    }

    /// How long messages are remembered: 1 s to a year. Default: 14 days. A message that comes later than that is taken again.
    pub fn remember(mut self, time: Duration) -> Result<Self, Invalid> {
        if !(Duration::from_secs(1)..=LONGEST).contains(&time) {
            let limit = "must be in 1 s..=366 days";
            return Err(Invalid::new("remember", format!("{time:?}"), limit));
        }
        self.remember = time;
        Ok(self)
    }

    /// Takes a message, unless it was taken before.
    ///
    /// `work` is what [`SqliteStore::commit_with`](backstay_store::SqliteStore::commit_with) takes and may run more than once; what
    /// its last run did counts.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the message is taken. Take it again to know.
    pub async fn take<T, E>(
        &self,
        message: &Message,
        work: impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, T, E> + Send + Sync + 'static,
    ) -> Result<Taken<T>, InboxError<E>>
    where
        T: Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        let digits = hash::hex(&[message.source.as_bytes(), message.id.as_bytes()]);
        let key = format!("cqrs/{}/inbox/{}", self.name, &digits[..32]);
        let remember = self.remember;
        let made = move |output: T| {
            let put = Put::new(Vec::new()).expires_after(remember);
            let put = put.expecting(Expected::Absent);
            Ok::<_, Refused<E>>((Batch::new().put(key.clone(), put), output))
        };
        match self.store.commit_made(BatchId::new(), work, made).await {
            Ok(committed) => Ok(committed.output.map_or(Taken::Before, Taken::Now)),
            Err(CommitWithError::Commit(CommitError::Conflict(Conflict::Key { .. }))) => {
                Ok(Taken::Before)
            }
            Err(CommitWithError::Work(Refused(error))) => Err(InboxError::Work(error)),
            Err(CommitWithError::Commit(error)) => {
                Err(InboxError::Store(CommitWithError::Commit(error)))
            }
            Err(CommitWithError::TookTooLong { limit }) => {
                Err(InboxError::Store(CommitWithError::TookTooLong { limit }))
            }
            Err(CommitWithError::Panicked) => Err(InboxError::Store(CommitWithError::Panicked)),
            Err(_) => Err(InboxError::Store(CommitWithError::Ended)),
        }
    }
}
