//! What the store has of instances, whoever runs them.

use std::sync::Arc;
use std::time::Duration;

use backstay_store::{
    Append, Batch, Commit, CommitError, Entry as Key, Event, Expected, Invalid, Position, Store,
    Unavailable, Version,
};
use tokio::time::sleep;

use super::names::{Name, Names};
use super::settled::{Told, told};
use crate::Json;
use crate::graph::{Fingerprint, Graph};
use crate::log::{Entry, KIND, Record, Start};
use crate::machine::{Illegal, Phase, State};

/// A group's instances in a store.
#[derive(Clone, Debug)]
pub(crate) struct Instances {
    pub(crate) store: Store,
    pub(crate) names: Names,
}

/// An instance as the store has it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) start: Start,
    pub(crate) state: State,
    pub(crate) version: Version,
}

/// Why an instance can't be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

/// Why a batch is not in the store.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Somebody else has written to the instance.
    Conflict,
    /// Somebody else runs it.
    Fenced,
    /// The store takes it never.
    Invalid(Invalid),
    /// The store takes nothing any more.
    Gone,
}

/// Waits between two tries to reach the store.
const AGAIN: Duration = Duration::from_millis(100);
pub(crate) const PAGE: u32 = 1_000;

impl Instances {
    /// Records after a version. Fewer than a page are the last there are.
    async fn page(
        &self,
        stream: &str,
        after: Version,
    ) -> Result<Vec<(Version, Record)>, LoadError> {
        let events = self.store.read(stream, after, PAGE).await?;
        let read = |event: backstay_store::Recorded| {
            let record = serde_json::from_slice(&event.data);
            Ok((
                event.version,
                record.map_err(|error| Illegal::unreadable(&error))?,
            ))
        };
        events.into_iter().map(read).collect()
    }

    /// All records of an instance.
    pub(crate) async fn records(&self, name: &Name) -> Result<Vec<(Version, Record)>, LoadError> {
        let stream = self.names.stream(name);
        let mut all = Vec::new();
        let mut after = Version::START;
        loop {
            let page = self.page(&stream, after).await?;
            let Some((last, _)) = page.last() else {
                return Ok(all);
            };
            after = *last;
            all.extend(page);
        }
    }

    /// How an instance began; none if it has not.
    pub(crate) async fn start(&self, name: &Name) -> Result<Option<Start>, LoadError> {
        let stream = self.names.stream(name);
        let events = self.store.read(&stream, Version::START, 1).await?;
        let Some(first) = events.first() else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&first.data);
        let record: Record = record.map_err(|error| Illegal::unreadable(&error))?;
        Ok(Some(started(&record)?.clone()))
    }

    /// An instance as it is; none if there is none.
    pub(crate) async fn load(&self, name: &Name) -> Result<Option<Loaded>, LoadError> {
        self.loaded(&self.records(name).await?).await
    }

    /// An instance as its records tell it; none if there are none.
    pub(crate) async fn loaded(
        &self,
        records: &[(Version, Record)],
    ) -> Result<Option<Loaded>, LoadError> {
        let Some((_, first)) = records.first() else {
            return Ok(None);
        };
        let start = started(first)?.clone();
        let graph = Arc::new(self.graph(&start.graph).await?);
        let mut state = State::new(graph);
        let mut version = Version::START;
        for (of, record) in records {
            self.apply(&mut state, record).await?;
            version = *of;
        }
        Ok(Some(Loaded {
            start,
            state,
            version,
        }))
    }

    /// Brings a state up to date.
    pub(crate) async fn catch_up(
        &self,
        name: &Name,
        state: &mut State,
        version: &mut Version,
    ) -> Result<(), LoadError> {
        let stream = self.names.stream(name);
        loop {
            let page = self.page(&stream, *version).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (of, record) in page {
                self.apply(state, &record).await?;
                *version = of;
            }
        }
    }

    async fn apply(&self, state: &mut State, record: &Record) -> Result<(), LoadError> {
        if let [Entry::Migrate { graph, steps }] = &record.entries[..] {
            let graph = Arc::new(self.graph(graph).await?);
            return Ok(state.migrate(graph, steps)?);
        }
        Ok(state.apply(record)?)
    }

    pub(crate) async fn graph(&self, graph: &Fingerprint) -> Result<Graph, LoadError> {
        let Some(entry) = self.store.get(&self.names.graph(graph)).await? else {
            return Err(Illegal::without(graph).into());
        };
        let graph = serde_json::from_slice(&entry.value);
        Ok(graph.map_err(|error| Illegal::unreadable(&error))?)
    }

    /// Keys with a prefix, after one of them.
    pub(crate) async fn keys(&self, prefix: &str, after: &str) -> Result<Vec<Key>, Unavailable> {
        self.store.list(prefix, after, PAGE).await
    }

    /// Commits until the store has said yes or no.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<Commit, Refused> {
        loop {
            match self.store.commit(batch.clone()).await {
                Ok(commit) => return Ok(commit),
                Err(CommitError::Conflict(_)) => return Err(Refused::Conflict),
                Err(CommitError::Fenced { .. }) => return Err(Refused::Fenced),
                Err(CommitError::Invalid(invalid)) => return Err(Refused::Invalid(invalid)),
                Err(CommitError::Unavailable(unavailable)) if unavailable.is_lasting() => {
                    return Err(Refused::Gone);
                }
                // The same batch: it may be there.
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// A batch that adds a record to an instance that is at this version.
    pub(crate) fn append(&self, name: &Name, at: Version, record: &Record) -> Batch {
        append(self.names.stream(name), at, record)
    }

    /// The store's last position.
    pub(crate) async fn head(&self) -> Result<Position, Unavailable> {
        until_told(|| self.store.head()).await
    }
}

/// A batch that adds a record to the stream of an instance that is at this version.
pub(crate) fn append(stream: impl Into<String>, at: Version, record: &Record) -> Batch {
    let expected = match at {
        Version::START => Expected::Absent,
        version => Expected::Exactly(version),
    };
    let append = Append::new(Event::new(KIND, record.bytes())).expecting(expected);
    Batch::new().append(stream, append)
}

/// Asks until the store answers, unless it never will.
pub(crate) async fn until_told<T, E, F>(ask: impl Fn() -> F) -> Result<T, E>
where
    E: MayPass,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match ask().await {
            Err(error) if error.may_pass() => sleep(AGAIN).await,
            told => return told,
        }
    }
}

/// An error after which another try may do.
pub(crate) trait MayPass {
    fn may_pass(&self) -> bool;
}

impl MayPass for Unavailable {
    fn may_pass(&self) -> bool {
        !self.is_lasting()
    }
}

impl MayPass for LoadError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(unavailable) if unavailable.may_pass())
    }
}

fn started(first: &Record) -> Result<&Start, Illegal> {
    match first.entries.first() {
        Some(Entry::Start(start)) => Ok(start),
        _ => Err(Illegal::not_begun()),
    }
}

impl Loaded {
    pub(crate) fn told(&self, output: impl FnOnce(&[Json]) -> Json) -> Told {
        told(&self.state, output)
    }

    pub(crate) fn is_going_back(&self) -> bool {
        self.state.phase == Phase::Back
    }
}
