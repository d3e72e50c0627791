use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Batch, CommitError, Expected, Fence, Position, Put, Store, Unavailable};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{Checkpoint, not_committed};
use super::feeder::{Feeds, feed};
use super::generation::id;
use super::view::View;
use super::{Checksum, Projection, Seen};
use crate::Invalid;
use crate::consumer::{self, Item, PANICKED, Sink, SinkError, WaitError};
use crate::task::Task;

/// A read model of documents: values of a store, each under a key, made of the events.
pub struct Documents<V> {
    view: View,
    /// None if others feed it.
    feeder: Option<Task>,
    value: PhantomData<fn() -> V>,
}

/// A document, and the key that it is under.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document<V> {
    /// Its key.
    pub key: String,
    /// What it says.
    pub value: V,
}

/// Why a document can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not what this code reads.
    #[error("document {key:?} is not what this code reads")]
    Unreadable {
        /// Its key.
        key: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The store can't say.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl<V> fmt::Debug for Documents<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Documents").field(&self.view).finish()
    }
}

impl<E: Serialize + DeserializeOwned + Send + Sync + 'static> Projection<E> {
    /// Begins to keep documents in a store, which may be another one than the log's.
    ///
    /// `keys` says which documents an event changes, and `change` what becomes of each: none is no document. Documents and
    /// checkpoint are one commit. Of all nodes that do this, one at a time feeds it. Needs a runtime.
    pub fn documents<V>(
        self,
        store: impl Into<Store>,
        keys: impl Fn(&Seen<E>) -> Vec<String> + Send + Sync + 'static,
        change: impl Fn(Option<V>, &Seen<E>) -> Option<V> + Send + Sync + 'static,
    ) -> Result<Documents<V>, Invalid>
    where
        V: Serialize + DeserializeOwned + Send + 'static,
    {
        self.validate()?;
        let store = store.into();
        let change = move |text: Option<&[u8]>, seen: &Seen<E>| {
            let before = text.map(serde_json::from_slice).transpose()?;
            let after = change(before, seen);
            after.map(|value| serde_json::to_vec(&value)).transpose()
        };
        let (log, name) = (self.log.clone(), self.name.clone());
        let feeds = DocumentsFeeds {
            store: store.clone(),
            streams: self.streams.len() + 1,
            projection: self,
            code: Arc::new(Code {
                keys: Box::new(keys),
                change: Box::new(change),
            }),
        };
        let feeder = feed(store.clone(), log, name.clone(), feeds);
        Ok(Documents {
            view: View { store, name },
            feeder: Some(feeder),
            value: PhantomData,
        })
    }
}

impl<V: DeserializeOwned> Documents<V> {
    /// The documents of a projection of this name that other nodes feed.
    pub fn reader(store: impl Into<Store>, name: impl Into<String>) -> Self {
        let (store, name) = (store.into(), name.into());
        Self {
            view: View { store, name },
            feeder: None,
            value: PhantomData,
        }
    }

    /// A document; none if there is none of this key.
    pub async fn get(&self, key: &str) -> Result<Option<V>, ReadError> {
        let (_, live) = self.view.live().await?;
        let entry = self
            .view
            .store
            .get(&format!("{}{key}", prefix(&live)))
            .await?;
        entry.map(|entry| read(key, &entry.value)).transpose()
    }

    /// Documents in the order of their keys, after one of them: the first are after `""`. Fewer than `limit`, 1 to 10,000, are the last.
    pub async fn list(&self, after: &str, limit: u32) -> Result<Vec<Document<V>>, ReadError> {
        let (_, live) = self.view.live().await?;
        let prefix = prefix(&live);
        let after = match after {
            "" => String::new(),
            after => format!("{prefix}{after}"),
        };
        let page = self.view.store.list(&prefix, &after, limit).await?;
        let document = |entry: backstay_store::Entry| {
            let key = entry.key[prefix.len()..].to_owned();
            let value = read(&key, &entry.value)?;
            Ok(Document { key, value })
        };
        page.into_iter().map(document).collect()
    }

    /// Waits until all up to a position is shown, at most so long.
    pub async fn at_least(&self, position: Position, within: Duration) -> Result<(), WaitError> {
        self.view.at_least(position, within).await
    }

    /// How far it is, and a sum over the events that it has taken.
    pub async fn checksum(&self) -> Result<Checksum, Unavailable> {
        self.view.checksum().await
    }

    /// Has it built anew beside the live one, from the start of the log. What is live changes when the new one shows as much.
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

fn read<V: DeserializeOwned>(key: &str, value: &[u8]) -> Result<V, ReadError> {
    serde_json::from_slice(value).map_err(|source| ReadError::Unreadable {
        key: key.to_owned(),
        source,
    })
}

fn prefix(id: &str) -> String {
    format!("view/{id}/")
}

struct DocumentsFeeds<E> {
    store: Store,
    projection: Projection<E>,
    streams: usize,
    code: Arc<Code<E>>,
}

/// What the user gave.
struct Code<E> {
    keys: Box<Keys<E>>,
    change: Box<Change<E>>,
}

type Keys<E> = dyn Fn(&Seen<E>) -> Vec<String> + Send + Sync;
type Change<E> =
    dyn Fn(Option<&[u8]>, &Seen<E>) -> serde_json::Result<Option<Vec<u8>>> + Send + Sync;

const PAGE: u32 = 500;

impl<E: Serialize + DeserializeOwned + Send + Sync + 'static> Feeds for DocumentsFeeds<E> {
    fn start(&self, generation: u32) -> Task {
        let id = id(&self.projection.name, generation);
        let sink = DocumentsSink {
            checkpoint: Checkpoint::new(self.store.clone(), &id, &self.projection.streams),
            prefix: prefix(&id),
            streams: self.streams,
            code: self.code.clone(),
        };
        consumer::start(self.projection.consumer(&id), sink)
    }

    fn discard(&self, generation: u32, gone: Batch) -> BoxFuture<'_, Result<(), SinkError>> {
        async move {
            let prefix = prefix(&id(&self.projection.name, generation));
            loop {
                let page = self.store.list(&prefix, "", PAGE).await?;
                if page.is_empty() {
                    let gone = self.store.commit(gone).await;
                    return gone.map(drop).map_err(not_committed);
                }
                let some = page.iter().fold(Batch::new(), |batch, entry| {
                    batch.delete(&entry.key, Expected::Any)
                });
                self.store.commit(some).await.map_err(not_committed)?;
            }
        }
        .boxed()
    }
}

struct DocumentsSink<E> {
    checkpoint: Checkpoint,
    prefix: String,
    streams: usize,
    code: Arc<Code<E>>,
}

impl<E: Send + Sync + 'static> DocumentsSink<E> {
    /// The documents that these events change, as they are then.
    async fn changed(
        &self,
        items: &[Item<Arc<E>>],
    ) -> Result<BTreeMap<String, Option<Vec<u8>>>, SinkError> {
        let mut changed: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        for item in items {
            let seen = Seen::new(item, self.streams);
            for key in contained(|| (self.code.keys)(&seen))? {
                let key = format!("{}{key}", self.prefix);
                let before = if let Some(value) = changed.get(&key) {
                    value.clone()
                } else {
                    let entry = self.checkpoint.store.get(&key).await?;
                    entry.map(|entry| entry.value.to_vec())
                };
                let after = contained(|| (self.code.change)(before.as_deref(), &seen))?;
                let after = after.map_err(|error| {
                    let name = &key[self.prefix.len()..];
                    SinkError::Refused(format!("document {name:?}: {error}"))
                })?;
                changed.insert(key, after);
            }
        }
        Ok(changed)
    }
}

fn added(batch: Batch, changed: BTreeMap<String, Option<Vec<u8>>>) -> Batch {
    changed
        .into_iter()
        .fold(batch, |batch, (key, value)| match value {
            Some(value) => batch.put(key, Put::new(value)),
            None => batch.delete(key, Expected::Any),
        })
}

/// What the user's code answers, unless it panics.
fn contained<T>(call: impl FnOnce() -> T) -> Result<T, SinkError> {
    consumer::contained(call).ok_or_else(|| SinkError::Refused(PANICKED.to_owned()))
}

impl<E: Send + Sync + 'static> Sink<Arc<E>> for DocumentsSink<E> {
    fn open<'s>(&'s mut self, fence: &'s Fence) -> BoxFuture<'s, Result<Position, SinkError>> {
        self.checkpoint.open(fence).boxed()
    }

    fn take<'s>(
        &'s mut self,
        items: Arc<[Item<Arc<E>>]>,
        to: Position,
        fence: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>> {
        async move {
            let changed = self.changed(&items).await?;
            let told = self.checkpoint.told.with(&items, to);
            let batch = added(self.checkpoint.batch(told, fence), changed);
            let commit = self.checkpoint.store.commit(batch).await;
            self.checkpoint
                .committed(&commit.map_err(not_committed)?, told);
            Ok(())
        }
        .boxed()
    }

    fn take_again<'s>(
        &'s mut self,
        item: Item<Arc<E>>,
        fence: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>> {
        async move {
            let changed = self.changed(std::slice::from_ref(&item)).await?;
            let position = item.place.position;
            let told = self.checkpoint.told;
            let told = told.with(&[item], Position::new(told.position));
            let batch = added(self.checkpoint.batch(told, fence), changed);
            let batch = self.checkpoint.again(batch, position);
            match self.checkpoint.store.commit(batch).await {
                Ok(commit) => self.checkpoint.committed(&commit, told),
                // It was taken before.
                Err(CommitError::Conflict(conflict)) if self.checkpoint.is_again(&conflict) => {}
                Err(error) => return Err(not_committed(error)),
            }
            Ok(())
        }
        .boxed()
    }
}
