use std::error::Error;
use std::time::Duration;

use backstay_store::{
    Batch, BatchId, CommitError, CommitWithError, CommittedWith, Conflict, Expected, Put,
    Transactional,
};

use super::Message;
use super::aside::AsideError;
use crate::Invalid;
use crate::hash;
use crate::name::check_name;

/// Takes messages once: what is done for one, and that it was, are one commit.
///
/// `S` is the store whose database has what is done: `SqliteStore` or `PostgresStore`.
#[derive(Clone, Debug)]
pub struct Inbox<S> {
    pub(super) store: S,
    pub(super) name: String,
    pub(super) remember: Duration,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// It was taken now, and this came of it.
    Now(T),
    /// It was taken or set aside before: nothing was done.
    Before,
    /// One of its key was [set aside](Inbox::set_aside), and now it is too, behind that one: nothing was done.
    Behind,
}

/// Why a message was not taken. Nothing of what is done for it is there, but where the effect of a commit is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError<E: Error + 'static> {
    /// The work says no.
    #[error(transparent)]
    Work(E),
    /// The store, or what runs the work in it.
    #[error(transparent)]
    Store(CommitWithError<E>),
    /// It has to do with messages that were set aside.
    #[error(transparent)]
    Aside(#[from] AsideError),
}

impl<E: Error + 'static> InboxError<E> {
    /// Whether the message is at fault, and not the store: the work said no, panicked or took too long.
    pub fn is_refusal(&self) -> bool {
        use CommitWithError::{Panicked, TookTooLong};
        matches!(
            self,
            Self::Work(_) | Self::Store(Panicked | TookTooLong { .. })
        )
    }
}

/// Longer than any relay is down, and any message waits for a person over a weekend.
const REMEMBER: Duration = Duration::from_secs(14 * 24 * 3_600);
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

/// What says no inside the transaction.
pub(super) struct Refused<E>(E);

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

    /// Takes a message, unless it was taken before or one of its key is set aside.
    ///
    /// `work` is what [`SqliteStore::commit_with`](backstay_store::SqliteStore::commit_with) takes and may run more than once; what
    /// its last run did counts. It also runs for a message that was taken before, to no effect.
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
        let row = self.row(&message.source, &message.id);
        let (key, mark) = (row.clone(), self.mark(&message.source, &message.key));
        let remember = self.remember;
        let made = move |output: T| {
            let put = Put::new(Vec::new()).expires_after(remember);
            let put = put.expecting(Expected::Absent);
            let batch = Batch::new().put(key.clone(), put);
            Ok::<_, Refused<E>>((batch.expecting(mark.clone(), Expected::Absent), output))
        };
        let committed = self.store.commit_made(BatchId::new(), work, made).await;
        match committed {
            Err(CommitWithError::Commit(CommitError::Conflict(Conflict::Key { key, .. })))
                if key != row =>
            {
                self.put_aside(message, None).await?;
                Ok(Taken::Behind)
            }
            Err(CommitWithError::Commit(CommitError::Conflict(_))) => Ok(Taken::Before),
            Err(CommitWithError::Work(Refused(error))) => self.failed(message, error).await,
            committed => Ok(done(committed)?.map_or(Taken::Before, Taken::Now)),
        }
    }

    /// The work runs before it is known whether the message was taken, and may say no only because it was.
    async fn failed<T, E>(&self, message: &Message, error: E) -> Result<Taken<T>, InboxError<E>>
    where
        E: Error + Send + Sync + 'static,
    {
        let store = self.store.store();
        let is_there = async |key: &str| {
            let found = store.get(key).await;
            found.map_err(|error| InboxError::Store(error.into()))
        };
        let row = self.row(&message.source, &message.id);
        if is_there(&row).await?.is_some() {
            return Ok(Taken::Before);
        }
        let mark = self.mark(&message.source, &message.key);
        if is_there(&mark).await?.is_some() {
            self.put_aside(message, None).await?;
            return Ok(Taken::Behind);
        }
        Err(InboxError::Work(error))
    }

    /// What says that a message was taken or set aside.
    pub(super) fn row(&self, source: &str, id: &str) -> String {
        let digits = hash::hex(&[source.as_bytes(), id.as_bytes()]);
        format!("cqrs/{}/inbox/{}", self.name, &digits[..32])
    }
}

/// What came of the work; none if the commit had been made before, and its answer was lost.
pub(super) fn done<T, E: Error + 'static>(
    committed: Result<CommittedWith<T>, CommitWithError<Refused<E>>>,
) -> Result<Option<T>, InboxError<E>> {
    let store = match committed {
        Ok(committed) => return Ok(committed.output),
        Err(CommitWithError::Work(Refused(error))) => return Err(InboxError::Work(error)),
        Err(CommitWithError::Commit(error)) => CommitWithError::Commit(error),
        Err(CommitWithError::TookTooLong { limit }) => CommitWithError::TookTooLong { limit },
        Err(CommitWithError::Panicked) => CommitWithError::Panicked,
        Err(_) => CommitWithError::Ended,
    };
    Err(InboxError::Store(store))
}
