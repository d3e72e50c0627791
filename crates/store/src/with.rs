use crate::{Commit, CommitError, Unavailable};

/// A batch and rows of the user's own, committed together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedWith<T> {
    /// What the batch came to.
    pub commit: Commit,
    /// What the work returned; none if the batch had been committed before, so that nothing of the work stays.
    pub output: Option<T>,
}

#[cfg(feature = "test-util")]
impl<T> CommittedWith<T> {
    /// What a test's own [`Transactional`](crate::Transactional) answers.
    pub fn new(commit: Commit, output: Option<T>) -> Self {
        Self { commit, output }
    }
}

/// Why neither the batch nor the user's rows were committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitWithError<E> {
    /// The batch could not be.
    #[error(transparent)]
    Commit(CommitError),
    /// The work said no, and [`source`](std::error::Error::source) says why.
    ///
    /// On SQLite `not authorized` comes of the guard that keeps work from the transaction, settings and the store's tables.
    #[error("the work failed")]
    Work(#[source] E),
    /// The work took more time than it may.
    #[error("the work took longer than {limit:?}")]
    TookTooLong {
        /// As long as it may take.
        limit: std::time::Duration,
    },
    /// The work panicked.
    #[error("the work panicked")]
    Panicked,
    /// The work ended the transaction that it was given. What it did in it may be committed; the batch is not.
    #[error("the work ended the transaction")]
    Ended,
}

impl<E> From<Unavailable> for CommitWithError<E> {
    fn from(unavailable: Unavailable) -> Self {
        Self::Commit(unavailable.into())
    }
}
