use crate::{Batch, BatchId, CommitWithError, CommittedWith, Store};

/// A store whose batches can be committed together with rows of the user's own.
///
/// For crates that build on a store and do not name its backend. Its users call `commit_with` and `commit_from` of
/// [`SqliteStore`](crate::SqliteStore) and `PostgresStore`, which say what work may do and how long it may take.
#[diagnostic::on_unimplemented(
    note = "`SqliteStore` and `PostgresStore` are such stores; a `Store` names no database whose rows it could commit"
)]
pub trait Transactional: Clone + Send + Sync + 'static {
    /// The transaction that work is given.
    type Rows<'t>;

    /// What work returns: a result, or the future of one.
    type Worked<'t, O, E>;

    /// The store as its users see it.
    fn store(&self) -> Store;

    /// Commits the rows of `work` together with the batch that `made` makes of what came of it.
    ///
    /// Both may run more than once; the last run counts. The batch gets this id, whichever it was made with; a batch that
    /// was committed under it before is the answer. When either fails, nothing is committed, and the error is
    /// [`CommitWithError::Work`].
    fn commit_made<O, E, T, F>(
        &self,
        id: BatchId,
        work: impl for<'t> Fn(&'t Self::Rows<'t>) -> Self::Worked<'t, O, E> + Send + Sync + 'static,
        made: impl Fn(O) -> Result<(Batch, T), F> + Send + Sync + 'static,
    ) -> impl Future<Output = Result<CommittedWith<T>, CommitWithError<F>>> + Send
    where
        O: Send + 'static,
        E: Send + 'static,
        T: Send + 'static,
        F: From<E> + Send + 'static;
}
