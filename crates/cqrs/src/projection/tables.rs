use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{
    Batch, BatchId, Commit, CommitError, CommitWithError, Fence, Position, Transactional,
    Unavailable,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{Checkpoint, not_committed};
use super::feeder::{Feeds, feed};
use super::generation::id;
use super::view::View;
use super::{Checksum, Projection, Seen, chain};
use crate::Invalid;
use crate::consumer::{self, Item, Sink, SinkError, WaitError};
use crate::task::Task;

/// A read model in tables of the user's own: what it is made of, and how events change it.
///
/// `S` is the store whose database has the tables: `SqliteStore` or `PostgresStore`. Each function is given the transaction
/// that is committed with the checkpoint, may run more than once, and names the tables by their generation, so that another one
/// can be built beside.
pub trait Table<S: Transactional>: Send + Sync + 'static {
    /// What happens.
    type Event: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Why it is refused.
    type Error: Error + Send + Sync + 'static;

    /// Makes the tables of a generation, which are not there, unless what made them was cut off.
    fn create<'t>(&self, rows: &'t S::Rows<'t>, generation: u32) -> S::Worked<'t, (), Self::Error>;

    /// Brings the tables of a generation up to date by these events, in their order.
    ///
    /// When it returns an error, fewer are tried, down to the one that it is for.
    fn apply<'t>(
        &self,
        rows: &'t S::Rows<'t>,
        generation: u32,
        events: Arc<[Seen<Self::Event>]>,
    ) -> S::Worked<'t, (), Self::Error>;

    /// Takes the tables of a generation away.
    fn discard<'t>(&self, rows: &'t S::Rows<'t>, generation: u32)
    -> S::Worked<'t, (), Self::Error>;
}

/// A read model in tables, as all nodes see it.
#[derive(Debug)]
pub struct Tables {
    view: View,
    feeder: Option<Task>,
}

impl<E: Serialize + DeserializeOwned + Send + Sync + 'static> Projection<E> {
    /// Begins to keep tables in the database of a store, which may be another one than the log's.
    ///
    /// Rows and checkpoint are one commit. Of all nodes that do this, one at a time feeds it. Needs a runtime.
    pub fn tables<S, T>(self, store: &S, table: T) -> Result<Tables, Invalid>
    where
        S: Transactional,
        T: Table<S, Event = E>,
    {
        self.validate()?;
        let (log, name) = (self.log.clone(), self.name.clone());
        let feeds = TablesFeeds {
            store: store.clone(),
            table: Arc::new(table),
            streams: self.streams.len() + 1,
            projection: self,
        };
        let view = View {
            store: store.store(),
            name: name.clone(),
        };
        let feeder = feed(store.store(), log, name, feeds);
        Ok(Tables {
            view,
            feeder: Some(feeder),
        })
    }
}

impl Tables {
    /// The tables of a projection of this name that other nodes feed.
    pub fn reader<S: Transactional>(store: &S, name: impl Into<String>) -> Self {
        Self {
            view: View {
                store: store.store(),
                name: name.into(),
            },
            feeder: None,
        }
    }

    /// Which generation's tables are to be read now. It changes when one that was built beside it shows as much.
    pub async fn live(&self) -> Result<u32, Unavailable> {
        Ok(self.view.live().await?.0)
    }

    /// Waits until all up to a position is shown, at most so long.
    pub async fn at_least(&self, position: Position, within: Duration) -> Result<(), WaitError> {
        self.view.at_least(position, within).await
    }

    /// How far it is, and a sum over the events that it has taken.
    pub async fn checksum(&self) -> Result<Checksum, Unavailable> {
        self.view.checksum().await
    }

    /// Has it built anew beside the live one, from the start of the log.
    pub async fn rebuild(&self) -> Result<(), Unavailable> {
        self.view.rebuild().await
    }

    /// Gives up the generation that is being built, if one is. What it has left behind is taken away.
    pub async fn abandon_rebuild(&self) -> Result<(), Unavailable> {
        self.view.abandon_rebuild().await
    }

    /// Gives the claim to other nodes. What is under way is taken or not, and they go on from there.
    pub async fn stop(&self) {
        if let Some(feeder) = &self.feeder {
            feeder.stop().await;
        }
    }
}

struct TablesFeeds<S, T, E> {
    store: S,
    table: Arc<T>,
    projection: Projection<E>,
    streams: usize,
}

impl<S, T, E> Feeds for TablesFeeds<S, T, E>
where
    S: Transactional,
    T: Table<S, Event = E>,
    E: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn start(&self, generation: u32) -> Task {
        let id = id(&self.projection.name, generation);
        let sink = TablesSink {
            store: self.store.clone(),
            table: self.table.clone(),
            checkpoint: Checkpoint::new(self.store.store(), &id, &self.projection.streams),
            generation,
            streams: self.streams,
        };
        consumer::start(self.projection.consumer(&id), sink)
    }

    fn discard(&self, generation: u32, gone: Batch) -> BoxFuture<'_, Result<(), SinkError>> {
        let work = discards::<S, T>(self.table.clone(), generation);
        async move { commit(&self.store, work, gone).await.map(drop) }.boxed()
    }
}

struct TablesSink<S, T> {
    store: S,
    table: Arc<T>,
    checkpoint: Checkpoint,
    generation: u32,
    streams: usize,
}

/// Why work was given up inside the transaction.
struct Refused(String);

impl<E: Error + 'static> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(chain(&error))
    }
}

/// Commits what the work does together with a batch.
async fn commit<S, E>(
    store: &S,
    work: impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, (), E> + Send + Sync + 'static,
    batch: Batch,
) -> Result<Commit, SinkError>
where
    S: Transactional,
    E: Error + Send + Sync + 'static,
{
    let made = move |()| Ok::<_, Refused>((batch.clone(), ()));
    let committed = store.commit_made(BatchId::new(), work, made).await;
    match committed {
        Ok(committed) => Ok(committed.commit),
        Err(CommitWithError::Commit(error)) => Err(not_committed(error)),
        Err(CommitWithError::Work(Refused(error))) => Err(SinkError::Refused(error)),
        Err(error) => Err(SinkError::Refused(error.to_string())),
    }
}

// Closures of their own functions, so that their types say what holds for each lifetime.

fn creates<S: Transactional, T: Table<S>>(
    table: Arc<T>,
    generation: u32,
) -> impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, (), T::Error> + Send + Sync + 'static {
    move |rows| table.create(rows, generation)
}

fn discards<S: Transactional, T: Table<S>>(
    table: Arc<T>,
    generation: u32,
) -> impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, (), T::Error> + Send + Sync + 'static {
    move |rows| table.discard(rows, generation)
}

fn applies<S: Transactional, T: Table<S>>(
    table: Arc<T>,
    generation: u32,
    events: Arc<[Seen<T::Event>]>,
) -> impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, (), T::Error> + Send + Sync + 'static {
    move |rows| table.apply(rows, generation, events.clone())
}

impl<S: Transactional, T: Table<S>> TablesSink<S, T> {
    async fn create(&mut self, fence: &Fence) -> Result<(), SinkError> {
        let told = self.checkpoint.told;
        let batch = self.checkpoint.batch(told, fence);
        let work = creates::<S, T>(self.table.clone(), self.generation);
        let commit = commit(&self.store, work, batch).await?;
        self.checkpoint.committed(&commit, told);
        Ok(())
    }

    fn seen(&self, items: &[Item<Arc<T::Event>>]) -> Arc<[Seen<T::Event>]> {
        let seen = |item| Seen::new(item, self.streams);
        items.iter().map(seen).collect()
    }
}

impl<S: Transactional, T: Table<S>> Sink<Arc<T::Event>> for TablesSink<S, T> {
    fn open<'s>(&'s mut self, fence: &'s Fence) -> BoxFuture<'s, Result<Position, SinkError>> {
        async move {
            let at = self.checkpoint.open(fence).await?;
            if self.checkpoint.is_new() {
                self.create(fence).await?;
            }
            Ok(at)
        }
        .boxed()
    }

    fn take<'s>(
        &'s mut self,
        items: Arc<[Item<Arc<T::Event>>]>,
        to: Position,
        fence: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>> {
        async move {
            let told = self.checkpoint.told.with(&items, to);
            let batch = self.checkpoint.batch(told, fence);
            let commit = if items.is_empty() {
                let commit = self.checkpoint.store.commit(batch).await;
                commit.map_err(not_committed)?
            } else {
                let events = self.seen(&items);
                let work = applies::<S, T>(self.table.clone(), self.generation, events);
                commit(&self.store, work, batch).await?
            };
            self.checkpoint.committed(&commit, told);
            Ok(())
        }
        .boxed()
    }

    fn take_again<'s>(
        &'s mut self,
        item: Item<Arc<T::Event>>,
        fence: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>> {
        async move {
            let told = self.checkpoint.told;
            let position = item.place.position;
            let items = [item];
            let told = told.with(&items, Position::new(told.position));
            let batch = self.checkpoint.batch(told, fence);
            let batch = self.checkpoint.again(batch, position);
            let work = applies::<S, T>(self.table.clone(), self.generation, self.seen(&items));
            let made = move |()| Ok::<_, Refused>((batch.clone(), ()));
            match self.store.commit_made(BatchId::new(), work, made).await {
                Ok(committed) => self.checkpoint.committed(&committed.commit, told),
                // It was taken before.
                Err(CommitWithError::Commit(CommitError::Conflict(conflict)))
                    if self.checkpoint.is_again(&conflict) => {}
                Err(CommitWithError::Commit(error)) => return Err(not_committed(error)),
                Err(CommitWithError::Work(Refused(error))) => {
                    // It may refuse to be taken again, because it was.
                    if !self.checkpoint.has_again(position).await? {
                        return Err(SinkError::Refused(error));
                    }
                }
                Err(error) => return Err(SinkError::Refused(error.to_string())),
            }
            Ok(())
        }
        .boxed()
    }
}
