use backstay_core::Moment;
use backstay_store::{Change as Changed, Position, Store, Watch, WatchError};
use tokio::select;
use tokio::time::sleep;

use super::PAGE;
use super::epoch::{EPOCH_KEY, epoch};
use crate::{Change, Codec, News, SourceError, Start, Version};

/// Follows a store's keys.
pub(super) struct Follows<K, V> {
    store: Store,
    prefix: String,
    codec: Codec<K, V>,
    start: Start,
    state: State,
}

enum State {
    New,
    /// Keys after this one are still to be listed.
    Listing {
        began: Version,
        after: String,
    },
    /// What has changed since the list began.
    Catching {
        began: Version,
        watch: Watch,
    },
    /// Nothing had changed any more.
    Caught {
        version: Version,
        asked: Moment,
        watch: Watch,
    },
    Following {
        told: Version,
        watch: Watch,
        /// Whether a proof is wanted at once.
        is_asked: bool,
    },
}

impl<K, V> Follows<K, V> {
    pub(super) fn new(store: Store, prefix: String, codec: Codec<K, V>, start: Start) -> Self {
        Self {
            store,
            prefix,
            codec,
            start,
            state: State::New,
        }
    }

    pub(super) async fn next(&mut self) -> Result<News<K, V>, SourceError> {
        match std::mem::replace(&mut self.state, State::New) {
            State::New => self.begin().await,
            State::Listing { began, after } => self.list(began, after).await,
            State::Catching { began, watch } => self.catch_up(began, watch).await,
            State::Caught {
                version,
                asked,
                watch,
            } => Ok(self.complete(version, asked, watch)),
            State::Following {
                told,
                watch,
                is_asked,
            } => self.follow(told, watch, is_asked).await,
        }
    }

    async fn begin(&mut self) -> Result<News<K, V>, SourceError> {
        let epoch = epoch(&self.store, self.start.held).await?;
        if let Some(resume) = self.start.resume
            && resume.epoch == epoch
        {
            let watch = self.store.watch(&self.prefix, Position::new(resume.number));
            return self.follow(resume, watch, true).await;
        }
        self.snapshot(epoch).await
    }

    async fn snapshot(&mut self, epoch: u64) -> Result<News<K, V>, SourceError> {
        let head = self.store.head().await.map_err(SourceError::new)?;
        let began = Version::new(epoch, head.get());
        let after = String::new();
        self.state = State::Listing { began, after };
        Ok(News::Snapshot(began))
    }

    async fn list(&mut self, began: Version, after: String) -> Result<News<K, V>, SourceError> {
        let entries = self.store.list(&self.prefix, &after, PAGE).await;
        let entries = entries.map_err(SourceError::new)?;
        self.state = match entries.last() {
            Some(last) if entries.len() == PAGE as usize => State::Listing {
                began,
                after: last.key.clone(),
            },
            _ => State::Catching {
                began,
                watch: self.store.watch(&self.prefix, Position::new(began.number)),
            },
        };
        let page = entries.iter().filter(|entry| entry.key != EPOCH_KEY);
        let page = page.map(|entry| self.change(&entry.key, entry.revision, Some(&entry.value)));
        Ok(News::Page(page.collect::<Result<_, _>>()?))
    }

    /// A list is of many moments; with all that has changed since it began it is the state at one.
    async fn catch_up(
        &mut self,
        began: Version,
        mut watch: Watch,
    ) -> Result<News<K, V>, SourceError> {
        let asked = self.start.clock.now();
        self.store.expire().await.map_err(SourceError::new)?;
        let look = watch.look().await.map_err(SourceError::new)?;
        if !look.changes.is_empty() {
            let page = self.changes(&look.changes)?;
            self.state = if look.is_all {
                let version = began.at(watch.position().get());
                State::Caught {
                    version,
                    asked,
                    watch,
                }
            } else {
                State::Catching { began, watch }
            };
            return Ok(News::Page(page));
        }
        let version = began.at(watch.position().get());
        Ok(self.complete(version, asked, watch))
    }

    fn complete(&mut self, version: Version, asked: Moment, watch: Watch) -> News<K, V> {
        self.state = State::Following {
            told: version,
            watch,
            is_asked: false,
        };
        News::Complete { version, asked }
    }

    async fn follow(
        &mut self,
        told: Version,
        mut watch: Watch,
        is_asked: bool,
    ) -> Result<News<K, V>, SourceError> {
        if !is_asked {
            let changes = select! {
                biased;
                () = self.start.nudged() => None,
                changes = watch.next() => Some(changes),
                () = sleep(self.start.heartbeat) => None,
            };
            match changes {
                Some(Ok(changes)) => {
                    let upto = told.at(watch.position().get());
                    // What was changed is told, and that there is no more is to be proved.
                    return self.told(told, upto, watch, &changes, None);
                }
                Some(Err(WatchError::Forgotten { .. })) => return self.snapshot(told.epoch).await,
                Some(Err(error)) => return Err(SourceError::new(error)),
                None => {}
            }
        }
        let asked = self.start.clock.now();
        // What has expired is a change from here on: no proof is given of it.
        self.store.expire().await.map_err(SourceError::new)?;
        let look = match watch.look().await {
            Ok(look) => look,
            Err(WatchError::Forgotten { .. }) => return self.snapshot(told.epoch).await,
            Err(error) => return Err(SourceError::new(error)),
        };
        if look.head.get() < told.number {
            // The store has gone back; the replica ends the session for that.
            return Ok(News::proof(told.at(look.head.get()), asked));
        }
        let upto = told.at(watch.position().get());
        let asked = look.is_all.then_some(asked);
        self.told(told, upto, watch, &look.changes, asked)
    }

    fn told(
        &mut self,
        after: Version,
        upto: Version,
        watch: Watch,
        changes: &[Changed],
        asked: Option<Moment>,
    ) -> Result<News<K, V>, SourceError> {
        let changes = self.changes(changes)?;
        self.state = State::Following {
            told: upto,
            watch,
            is_asked: asked.is_none(),
        };
        Ok(News::answer(after, upto, changes, asked))
    }

    fn changes(&self, changes: &[Changed]) -> Result<Vec<Change<K, V>>, SourceError> {
        let changes = changes.iter().filter(|change| change.key != EPOCH_KEY);
        let changes = changes
            .map(|change| self.change(&change.key, change.revision, change.value.as_deref()));
        changes.collect()
    }

    fn change(
        &self,
        key: &str,
        revision: Position,
        value: Option<&[u8]>,
    ) -> Result<Change<K, V>, SourceError> {
        // The store tells only of keys with the prefix.
        let name = key.strip_prefix(&self.prefix).unwrap_or(key);
        self.codec.change(name, revision.get(), value)
    }
}
