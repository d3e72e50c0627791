//! A store in a file of this machine.
//!
//! One thread writes. It takes what has been asked for meanwhile and commits it with one `fsync`, so many who commit at
//! once cost as much as one. Reads go to connections of their own and never wait for a write. Several processes may have the
//! file open; they write in turn.

mod apply;
mod copy;
mod error;
mod guard;
mod open;
mod options;
mod read;
mod schema;
mod value;
mod with;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{oneshot, watch};

pub use crate::with::{CommitWithError, CommittedWith};
pub use error::{BackUpError, OpenError};
pub use options::SqliteOptions;
pub use rusqlite;

use crate::{
    Backend, Batch, BatchId, Capabilities, Cause, Change, Claim, ClaimError, Commit, CommitError,
    Durability, Effect, Entry, Owner, Pending, Position, Recorded, Store, Unavailable, Version,
};
use read::Readers;
use writer::{Job, Writer};

/// A store in a SQLite file. Cheap to clone; all clones are the same store.
///
/// It can do what a [`Store`] can, through [`store`](Self::store), and what only a file can: rows of the user's own in
/// the same transaction, a backup, a check. When the last of them is dropped, what was asked for is still written; then
/// its thread ends and the file is closed.
///
/// # Panics
///
/// Opening and asking it, outside of a tokio runtime.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    store: Store,
    file: Arc<File>,
}

/// What all clones share.
#[derive(Debug)]
struct File {
    path: PathBuf,
    options: SqliteOptions,
    writer: Writer,
    readers: Readers,
}

impl SqliteStore {
    /// Opens the store in this file, or makes it. See [`SqliteOptions`] for more.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        SqliteOptions::default().open(path).await
    }

    async fn open_with(path: PathBuf, options: SqliteOptions) -> Result<Self, OpenError> {
        options.validate()?;
        open::check_path(&path)?;
        let file = blocking(move || {
            let connection = open::writer(&path, &options)?;
            // The name may be relative, and the working folder may change.
            let path = path
                .canonicalize()
                .map_err(|error| OpenError::io(&path, error))?;
            open::sync_log(&path)?;
            open::sync_folder(&path).map_err(|error| OpenError::io(&path, error))?;
            let readers = Readers::open(&path, &options)?;
            let writer = Writer::start(&path, connection, options.clone())?;
            Ok(File {
                path,
                options,
                writer,
                readers,
            })
        })
        .await
        .unwrap_or(Err(OpenError::ShuttingDown))?;
        let file = Arc::new(file);
        let store = Store::new(Shared(file.clone()))
            .with_limits(file.options.limits)
            .map_err(OpenError::Invalid)?;
        Ok(Self { store, file })
    }

    /// The store as its users see it.
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Writes a copy of the store, as of one moment, to a file that is not there yet. Others go on meanwhile.
    ///
    /// The copy is made in the same folder under a name that ends in `.part`, checked, synced, and then gets its name: what has
    /// that name is whole. A process that is killed before leaves the part, which can be removed.
    ///
    /// # Errors
    ///
    /// [`BackUpError`] says what is wrong with the copy's name or place.
    pub async fn back_up(&self, to: impl AsRef<Path>) -> Result<(), BackUpError> {
        let (file, to) = (self.file.clone(), to.as_ref().to_owned());
        let copied = self
            .file
            .readers
            .ask(move |connection| Ok(copy::back_up(connection, &to)))
            .await;
        drop(file);
        copied?
    }

    /// Reads the whole file and says what does not fit together; nothing if all is well.
    pub async fn check(&self) -> Result<Vec<String>, Unavailable> {
        self.file.readers.ask(open::check).await
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl From<SqliteStore> for Store {
    fn from(store: SqliteStore) -> Self {
        store.store
    }
}

impl std::ops::Deref for SqliteStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// The file behind a [`Store`].
#[derive(Clone, Debug)]
struct Shared(Arc<File>);

impl Shared {
    /// Has the writer do one job, and waits until what it did is on disk.
    fn write<T, E>(
        &self,
        run: impl Fn(&mut writer::Group<'_>) -> Result<T, E> + Send + 'static,
    ) -> Pending<'static, T, E>
    where
        T: Send + 'static,
        E: From<Unavailable> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let asked = self.0.writer.ask(Box::new(Job::new(run, reply)));
        async move {
            asked.await?;
            answer
                .await
                .unwrap_or_else(|_| Err(Unavailable::new(Cause::Closed, Effect::Unknown).into()))
        }
        .boxed()
    }
}

impl Backend for Shared {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::PowerLoss)
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        self.write(move |group| apply::commit(group, &batch))
    }

    fn find(&self, id: BatchId) -> Pending<'_, Option<Commit>> {
        self.0
            .readers
            .ask(move |connection| read::commit(connection, id))
            .boxed()
    }

    fn head(&self) -> Pending<'_, Position> {
        self.0.readers.ask(read::head).boxed()
    }

    fn read(&self, stream: String, after: Version, limit: u32) -> Pending<'_, Vec<Recorded>> {
        self.0
            .readers
            .ask(move |connection| read::stream(connection, &stream, after, limit))
            .boxed()
    }

    fn read_all(&self, after: Position, limit: u32) -> Pending<'_, Vec<Recorded>> {
        self.0
            .readers
            .ask(move |connection| read::all(connection, after, limit))
            .boxed()
    }

    fn get(&self, key: String) -> Pending<'_, Option<Entry>> {
        let clock = self.0.options.clock.clone();
        self.0
            .readers
            .ask(move |connection| read::get(connection, &key, &clock))
            .boxed()
    }

    fn list(&self, prefix: String, after: String, limit: u32) -> Pending<'_, Vec<Entry>> {
        let clock = self.0.options.clock.clone();
        self.0
            .readers
            .ask(move |connection| read::list(connection, (&prefix, &after), limit, &clock))
            .boxed()
    }

    fn changes(
        &self,
        prefix: String,
        after: Position,
        limit: u32,
    ) -> Pending<'_, Result<Vec<Change>, Position>> {
        self.0
            .readers
            .ask(move |connection| read::changes(connection, &prefix, after, limit))
            .boxed()
    }

    fn claim(&self, name: String, owner: Owner, ttl: Duration) -> Pending<'_, Claim, ClaimError> {
        self.write(move |group| apply::claim(group, &name, owner, ttl))
    }

    fn renew(&self, claim: Claim, ttl: Duration) -> Pending<'_, Claim, ClaimError> {
        self.write(move |group| apply::renew(group, &claim, ttl))
    }

    fn release(&self, claim: Claim) -> Pending<'_, bool> {
        self.write(move |group| apply::release(group, &claim))
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Claim>> {
        let clock = self.0.options.clock.clone();
        self.0
            .readers
            .ask(move |connection| read::holder(connection, &name, &clock))
            .boxed()
    }

    fn has_expired(&self) -> Pending<'_, bool> {
        let clock = self.0.options.clock.clone();
        self.0
            .readers
            .ask(move |connection| read::has_expired(connection, &clock))
            .boxed()
    }

    fn sweep(&self) -> Pending<'_, u64> {
        async move {
            let mut expired = 0;
            loop {
                let swept = self.write(apply::sweep).await?;
                expired += swept.expired;
                if !swept.more {
                    return Ok(expired);
                }
            }
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.writer.changed()
    }
}

/// Runs work that waits for the disk where it holds nobody up. None if the runtime shuts down.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
