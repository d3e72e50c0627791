use backstay_core::Moment;
use backstay_etcd::Client;
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::ask::{Asks, Header, Kv, Page, Which};
use super::watch::{Event, Watch};
use crate::names::{Memory, Names};
use crate::{Change, Codec, News, SourceError, Start, Version, lineage};

/// Follows the keys of a cluster.
pub(super) struct Follows<K, V> {
    asks: Asks,
    codec: Codec<K, V>,
    start: Start,
    /// Of the keys there are, by what the copy was told.
    names: Names,
    state: State,
}

enum State {
    New,
    /// A snapshot is told, of a moment that was asked for at its beginning.
    Listing {
        version: Version,
        asked: Moment,
        page: Page,
    },
    Listed {
        version: Version,
        asked: Moment,
    },
    Following {
        told: Version,
        watch: Watch,
        prove_at: Instant,
    },
}

impl<K, V> Follows<K, V> {
    pub(super) fn new(
        client: Client,
        prefix: String,
        codec: Codec<K, V>,
        memory: &Memory,
        start: Start,
    ) -> Self {
        Self {
            asks: Asks::new(client, prefix),
            codec,
            names: Names::of(memory, start.resume),
            start,
            state: State::New,
        }
    }

    pub(super) async fn next(&mut self) -> Result<News<K, V>, SourceError> {
        match std::mem::replace(&mut self.state, State::New) {
            State::New => match self.names.told() {
                Some(told) => self.prove(told, Watch::new()).await,
                None => self.snapshot(self.start.held).await,
            },
            State::Listing {
                version,
                asked,
                page,
            } => self.list(version, asked, page).await,
            State::Listed { version, asked } => {
                self.following(version, Watch::new());
                Ok(News::Complete { version, asked })
            }
            State::Following {
                told,
                watch,
                prove_at,
            } => self.follow(told, watch, prove_at).await,
        }
    }

    async fn snapshot(&mut self, held: Option<Version>) -> Result<News<K, V>, SourceError> {
        self.names.clear();
        let asked = self.start.clock.now();
        let page = self.asks.page(&Which::default()).await?;
        let version = Version::new(epoch(held, page.header), page.header.revision);
        self.state = State::Listing {
            version,
            asked,
            page,
        };
        Ok(News::Snapshot(version))
    }

    async fn list(
        &mut self,
        version: Version,
        asked: Moment,
        page: Page,
    ) -> Result<News<K, V>, SourceError> {
        let mut changes = Vec::with_capacity(page.kvs.len());
        for kv in &page.kvs {
            changes.extend(self.put(kv)?);
        }
        self.state = match page.next()? {
            Some(last) => {
                let next = Which {
                    at: Some(version.number),
                    after: Some(last),
                    ..Which::default()
                };
                let page = self.asks.page(&next).await?;
                State::Listing {
                    version,
                    asked,
                    page,
                }
            }
            None => State::Listed { version, asked },
        };
        Ok(News::Page(changes))
    }

    async fn follow(
        &mut self,
        told: Version,
        mut watch: Watch,
        prove_at: Instant,
    ) -> Result<News<K, V>, SourceError> {
        let events = select! {
            biased;
            () = self.start.nudged() => None,
            () = sleep_until(prove_at) => None,
            events = watch.next(&self.asks, told.number) => events,
        };
        let Some(events) = events else {
            return self.prove(told, watch).await;
        };
        let mut changes = Vec::with_capacity(events.len());
        let mut upto = told;
        for event in events {
            let number = event.kv.mod_revision;
            // An answer has brought it before.
            if number > told.number {
                changes.extend(self.change(&event)?);
                upto = upto.at(upto.number.max(number));
            }
        }
        self.names.tell(upto);
        self.state = State::Following {
            told: upto,
            watch,
            prove_at,
        };
        let asked = None;
        Ok(News::Changes {
            after: told,
            upto,
            changes,
            asked,
        })
    }

    /// Asks what has changed, and how many keys there are: with that it is known whether any is gone, and which.
    async fn prove(&mut self, told: Version, watch: Watch) -> Result<News<K, V>, SourceError> {
        let asked = self.start.clock.now();
        let mut which = Which {
            since: self.names.proved(),
            ..Which::default()
        };
        let mut page = self.asks.page(&which).await?;
        // A later page counts what is left.
        let (Header { revision, .. }, count) = (page.header, page.count);
        if epoch(Some(told), page.header) != told.epoch {
            return self.snapshot(Some(told)).await;
        }
        let mut changes = Vec::new();
        loop {
            for kv in &page.kvs {
                changes.extend(self.put(kv)?);
            }
            which.after = page.next()?;
            if which.after.is_none() {
                break;
            }
            which.at = Some(revision);
            page = self.asks.page(&which).await?;
        }
        let upto = told.at(revision);
        if self.names.len() > count {
            let there = self.asks.names(revision).await?;
            for name in self.names.retain(&there) {
                changes.push(self.gone(&name, revision)?);
            }
        }
        // Told by the watch: a key that never was, or a revision without all that it changed.
        let is_wrong = self.names.len() != count || (upto == told && !changes.is_empty());
        if is_wrong {
            return self.snapshot(Some(told)).await;
        }
        self.following(upto, watch);
        Ok(News::Changes {
            after: told,
            upto,
            changes,
            asked: Some(asked),
        })
    }

    fn following(&mut self, told: Version, watch: Watch) {
        self.names.prove(told);
        self.state = State::Following {
            told,
            watch,
            prove_at: Instant::now() + self.start.heartbeat,
        };
    }

    fn change(&mut self, event: &Event) -> Result<Option<Change<K, V>>, SourceError> {
        if !event.is_deletion() {
            return self.put(&event.kv);
        }
        let name = event.kv.key()?;
        self.names.remove(&name);
        self.gone(&name, event.kv.mod_revision).map(Some)
    }

    /// The change of a key that is there, unless it is known.
    fn put(&mut self, kv: &Kv) -> Result<Option<Change<K, V>>, SourceError> {
        let name = kv.key()?;
        if !self.names.insert(&name, kv.mod_revision) {
            return Ok(None);
        }
        let value = kv.value()?;
        let change = self
            .codec
            .change(self.key(&name), kv.mod_revision, Some(&value));
        change.map(Some)
    }

    fn gone(&self, name: &str, number: u64) -> Result<Change<K, V>, SourceError> {
        self.codec.change(self.key(name), number, None)
    }

    fn key<'n>(&self, name: &'n str) -> &'n str {
        // The cluster was asked only for keys with the prefix.
        name.strip_prefix(&self.asks.prefix).unwrap_or(name)
    }
}

fn epoch(held: Option<Version>, header: Header) -> u64 {
    lineage::epoch(held, &header.cluster_id.to_be_bytes(), header.revision)
}
