//! An undo and the tombstone of what it undoes, in one commit.

use backstay_store::Transactional;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Done, Fingerprint, Idempotency, Key, RunError, Withdrawn};

/// An undo that withdraws a key, from [`Idempotency::undoing`].
#[derive(Clone, Debug)]
#[must_use = "nothing is undone until `run`"]
pub struct Undoing<'a, S> {
    once: &'a Idempotency<S>,
    undone: Key,
}

impl<S: Transactional> Idempotency<S> {
    /// Undoes the work of this key, by work that has a key of its own.
    ///
    /// ```
    /// # use backstay_store::sqlite::rusqlite;
    /// use backstay_idempotency::{Fingerprint, Idempotency, RunError, Withdrawn};
    /// use backstay_store::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let store = SqliteStore::open(folder.path().join("orders.db")).await?;
    /// # let table = "CREATE TABLE orders (item TEXT)";
    /// # store.commit_with(backstay_store::Batch::new(), |rows| rows.execute_batch(table)).await?;
    /// let once = Idempotency::new(store)?;
    /// let asked = Fingerprint::of(&"tea")?;
    ///
    /// let place = |rows: &rusqlite::Transaction<'_>| {
    ///     rows.execute("INSERT INTO orders VALUES ('tea')", [])?;
    ///     Ok::<_, rusqlite::Error>(rows.last_insert_rowid())
    /// };
    /// once.run("place-7", &asked, place).await?;
    ///
    /// once.undoing("place-7")
    ///     .run("cancel-7", &asked, |rows, placed| {
    ///         if let Withdrawn::Done(placed) = placed {
    ///             let order: i64 = placed.answer().expect("as it was kept");
    ///             rows.execute("DELETE FROM orders WHERE rowid = ?1", [order])?;
    ///         }
    ///         Ok::<_, rusqlite::Error>(())
    ///     })
    ///     .await?;
    ///
    /// let late = once.run("place-7", &asked, place).await;
    /// assert!(matches!(late, Err(RunError::Withdrawn { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn undoing(&self, key: impl Into<Key>) -> Undoing<'_, S> {
        Undoing {
            once: self,
            undone: key.into(),
        }
    }
}

impl<S: Transactional> Undoing<'_, S> {
    /// Runs the work of the undo, once: its rows, its answer and the tombstone of the other key are one commit.
    ///
    /// As [`Idempotency::run`], and the work is given what is known of what it undoes. Work that returns an error leaves
    /// nothing, no tombstone either.
    ///
    /// # Errors
    ///
    /// [`RunError::Running`] also while somebody holds a guard of the key that is undone, and [`RunError::Mismatch`]
    /// also when both keys are the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the work is committed; the next call with the key says.
    pub async fn run<T, E>(
        &self,
        key: impl Into<Key> + Send,
        fingerprint: &Fingerprint,
        work: impl for<'t> Fn(&'t S::Rows<'t>, Withdrawn) -> S::Worked<'t, T, E> + Send + Sync + 'static,
    ) -> Result<Done<T>, RunError<E>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
    {
        let key = key.into();
        key.check()?;
        if key == self.undone {
            return Err(RunError::Mismatch);
        }
        let undone = self.undone.names();
        let names = key.names();
        self.once
            .run_undoing(Some(&undone), &names, fingerprint, work)
            .await
    }
}
