//! A store on a Postgres server.
//!
//! Writes of all processes happen one after the other: whoever writes holds the lock of one row, from which the positions
//! come, until its commit is visible. So who has seen a position has seen all before it. What keeps this fast is that each
//! process commits all that has gathered in one transaction of two round trips and one `fsync`.
//!
//! Behind a pooler that gives each transaction another connection all works but the hints between processes, which need
//! `LISTEN`: commits of others are then found by polling. The store prepares nothing, and no lock outlives its transaction.

mod connect;
mod failure;
mod group;
mod hint;
mod ledger;
mod options;
mod read;
mod schema;
mod server;
mod sweep;
mod value;
mod with;
mod write;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

pub use crate::with::{CommitWithError, CommittedWith};
pub use connect::ConnectError;
pub use options::PostgresOptions;
pub use tokio_postgres;

use crate::{
    Backend, Batch, BatchId, Capabilities, Change, Claim, ClaimError, Commit, CommitError,
    Durability, Entry, Owner, Pending, Position, Recorded, Store, Unavailable, Version,
};
use hint::{Hint, Hints};
use ledger::{Ledger, Needs};
use server::Server;
use writer::{Question, Writer};

/// A store on a Postgres server. Cheap to clone; all clones are the same store.
///
/// It can do what a [`Store`] can, through [`store`](Self::store), and what only a database can: rows of the user's own
/// in the same transaction. It belongs to the tokio runtime in which it was connected.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    store: Store,
    shared: Arc<Shared>,
}

/// What all clones share.
#[derive(Debug)]
struct Shared {
    server: Arc<Server>,
    writer: Writer,
    hint: Hint,
    hints: Hints,
}

impl PostgresStore {
    /// Reaches the store on this server, or makes its tables there. See [`PostgresOptions`] for more.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        PostgresOptions::default().connect(url).await
    }

    async fn connect_with(url: &str, options: PostgresOptions) -> Result<Self, ConnectError> {
        let (server, config, tls) = connect::connect(url, options).await?;
        let server = Arc::new(server);
        let (hint, hints) = Hints::start(server.clone(), config, tls);
        let shared = Arc::new(Shared {
            writer: Writer::start(server.clone(), hint.clone()),
            server,
            hint,
            hints,
        });
        let store = Store::new(OnServer(shared.clone()))
            .with_limits(shared.server.options.limits)
            .map_err(ConnectError::Invalid)?;
        Ok(Self { store, shared })
    }

    /// The store as its users see it.
    pub fn store(&self) -> Store {
        self.store.clone()
    }
}

impl From<PostgresStore> for Store {
    fn from(store: PostgresStore) -> Self {
        store.store
    }
}

impl std::ops::Deref for PostgresStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// The server behind a [`Store`].
#[derive(Clone, Debug)]
struct OnServer(Arc<Shared>);

impl OnServer {
    fn ask<Q: Question + 'static>(&self, question: Q) -> Pending<'_, Q::Answer, Q::Error> {
        self.0.writer.clone().ask(question).boxed()
    }
}

impl Question for Batch {
    type Answer = Commit;
    type Error = CommitError;

    fn bytes(&self) -> usize {
        self.value_bytes()
    }

    fn needs(&self, needs: &mut Needs) {
        needs.batch(self);
    }

    fn decide(&self, ledger: &mut Ledger) -> Result<Commit, CommitError> {
        ledger.commit(self)
    }
}

struct Take {
    name: String,
    owner: Owner,
    ttl: Duration,
}

impl Question for Take {
    type Answer = Claim;
    type Error = ClaimError;

    fn needs(&self, needs: &mut Needs) {
        needs.claim(&self.name);
    }

    fn decide(&self, ledger: &mut Ledger) -> Result<Claim, ClaimError> {
        ledger.claim(&self.name, self.owner, self.ttl)
    }
}

struct Renew(Claim, Duration);

impl Question for Renew {
    type Answer = Claim;
    type Error = ClaimError;

    fn needs(&self, needs: &mut Needs) {
        needs.claim(&self.0.name);
    }

    fn decide(&self, ledger: &mut Ledger) -> Result<Claim, ClaimError> {
        ledger.renew(&self.0, self.1)
    }
}

struct Release(Claim);

impl Question for Release {
    type Answer = bool;
    type Error = Unavailable;

    fn needs(&self, needs: &mut Needs) {
        needs.claim(&self.0.name);
    }

    fn decide(&self, ledger: &mut Ledger) -> Result<bool, Unavailable> {
        Ok(ledger.release(&self.0))
    }
}

impl Backend for OnServer {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            notifies_across_processes: true,
            ..Capabilities::new(Durability::PowerLoss)
        }
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        self.ask(batch)
    }

    fn find(&self, id: BatchId) -> Pending<'_, Option<Commit>> {
        read::commit(&self.0.server, id).boxed()
    }

    fn head(&self) -> Pending<'_, Position> {
        read::head(&self.0.server).boxed()
    }

    fn read(&self, stream: String, after: Version, limit: u32) -> Pending<'_, Vec<Recorded>> {
        async move { read::stream(&self.0.server, &stream, after, limit).await }.boxed()
    }

    fn read_all(&self, after: Position, limit: u32) -> Pending<'_, Vec<Recorded>> {
        read::all(&self.0.server, after, limit).boxed()
    }

    fn get(&self, key: String) -> Pending<'_, Option<Entry>> {
        async move { read::get(&self.0.server, &key).await }.boxed()
    }

    fn list(&self, prefix: String, after: String, limit: u32) -> Pending<'_, Vec<Entry>> {
        async move { read::list(&self.0.server, (&prefix, &after), limit).await }.boxed()
    }

    fn changes(
        &self,
        prefix: String,
        after: Position,
        limit: u32,
    ) -> Pending<'_, Result<Vec<Change>, Position>> {
        async move { read::changes(&self.0.server, &prefix, after, limit).await }.boxed()
    }

    fn claim(&self, name: String, owner: Owner, ttl: Duration) -> Pending<'_, Claim, ClaimError> {
        self.ask(Take { name, owner, ttl })
    }

    fn renew(&self, claim: Claim, ttl: Duration) -> Pending<'_, Claim, ClaimError> {
        self.ask(Renew(claim, ttl))
    }

    fn release(&self, claim: Claim) -> Pending<'_, bool> {
        self.ask(Release(claim))
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Claim>> {
        async move { read::holder(&self.0.server, &name).await }.boxed()
    }

    fn has_expired(&self) -> Pending<'_, bool> {
        async move { read::has_expired(&self.0.server).await }.boxed()
    }

    fn sweep(&self) -> Pending<'_, u64> {
        async move {
            let (expired, head) = sweep::sweep(&self.0.server).await?;
            if let Some(head) = head {
                self.0.hint.committed(head);
            }
            Ok(expired)
        }
        .boxed()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.hints.changed()
    }
}
