//! Who commits, and how.
//!
//! What is written by hand goes to the store's own tables: the same columns, the same indexes.

mod http;
mod page;
pub(crate) mod postgres;
mod postgres_by_hand;
mod sqlite;
mod sqlite_by_hand;

use std::sync::Arc;

use anyhow::Result;
use backstay::store::{Batch, Event, Store};
use serde::{Serialize, Serializer};
use tokio::runtime::{Builder, Runtime};

use self::http::Route;
use super::Ground;
use super::load::{self, Sample, Window};

/// One way to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// What all others stand on: a page at the end of a file, made durable.
    Page,
    /// One connection; each commit is a transaction with an `fsync` of its own.
    SqliteAlone,
    /// One thread; all commits that wait share a transaction.
    SqliteBatched,
    /// Our store in a file.
    Sqlite,
    /// Several connections; each commit is a transaction of one statement.
    PostgresAlone,
    /// One connection; all commits that wait share a transaction of one statement.
    PostgresBatched,
    /// Our store on a server.
    Postgres,
    /// A route over HTTP that commits nothing.
    Route,
    /// One that commits an event to our store in a file.
    RouteCommits,
    /// The same, done once for each key: a new key each time.
    RouteOnce,
    /// The same key again each time.
    RouteReplays,
}

/// What can be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Disk,
    Sqlite,
    Postgres,
    Http,
}

impl Group {
    pub(crate) const ALL: [Self; 4] = [Self::Disk, Self::Sqlite, Self::Postgres, Self::Http];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Http => "http",
        }
    }

    /// The same rows by hand: each commit alone, and batched.
    pub(crate) fn by_hand(self) -> Option<[Subject; 2]> {
        match self {
            Self::Disk | Self::Http => None,
            Self::Sqlite => Some([Subject::SqliteAlone, Subject::SqliteBatched]),
            Self::Postgres => Some([Subject::PostgresAlone, Subject::PostgresBatched]),
        }
    }
}

impl Subject {
    pub(crate) const ALL: [Self; 11] = [
        Self::Page,
        Self::SqliteAlone,
        Self::SqliteBatched,
        Self::Sqlite,
        Self::PostgresAlone,
        Self::PostgresBatched,
        Self::Postgres,
        Self::Route,
        Self::RouteCommits,
        Self::RouteOnce,
        Self::RouteReplays,
    ];

    pub(crate) fn group(self) -> Group {
        match self {
            Self::Page => Group::Disk,
            Self::SqliteAlone | Self::SqliteBatched | Self::Sqlite => Group::Sqlite,
            Self::PostgresAlone | Self::PostgresBatched | Self::Postgres => Group::Postgres,
            Self::Route | Self::RouteCommits | Self::RouteOnce | Self::RouteReplays => Group::Http,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Page => "fdatasync of a new 4 KiB",
            Self::SqliteAlone => "rusqlite, each alone",
            Self::SqliteBatched => "rusqlite, batched",
            Self::PostgresAlone => "tokio-postgres, each alone",
            Self::PostgresBatched => "tokio-postgres, batched",
            Self::Sqlite | Self::Postgres => "backstay",
            Self::Route => "a route",
            Self::RouteCommits => "a route, one commit",
            Self::RouteOnce => "once for each key, first",
            Self::RouteReplays => "once for each key, replayed",
        }
    }

    /// Whether several committers make sense.
    pub(crate) fn is_shared(self) -> bool {
        self != Self::Page
    }

    /// Lets so many commit for a while, with a new file or new tables.
    pub(crate) fn visit(
        self,
        ground: &Ground,
        committers: usize,
        window: Window,
    ) -> Result<Sample> {
        match self {
            Self::Page => page::visit(ground, window),
            Self::SqliteAlone => sqlite_by_hand::visit_alone(ground, committers, window),
            Self::SqliteBatched => sqlite_by_hand::visit_batched(ground, committers, window),
            Self::Sqlite => sqlite::visit(ground, committers, window),
            Self::PostgresAlone => postgres_by_hand::visit_alone(ground, committers, window),
            Self::PostgresBatched => postgres_by_hand::visit_batched(ground, committers, window),
            Self::Postgres => postgres::visit(ground, committers, window),
            Self::Route => http::visit(ground, Route::Bare, committers, window),
            Self::RouteCommits => http::visit(ground, Route::Commits, committers, window),
            Self::RouteOnce => http::visit(ground, Route::First, committers, window),
            Self::RouteReplays => http::visit(ground, Route::Replayed, committers, window),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// What kind every event is of.
const KIND: &str = "placed";

/// What every event says: as much as an order in JSON.
const DATA: &[u8] = &[b'.'; 120];

/// The streams, one for each committer.
fn streams(committers: usize) -> Arc<[String]> {
    (0..committers)
        .map(|number| format!("order-{number}"))
        .collect()
}

/// Committers on a store of ours.
async fn commit_to(store: Store, committers: usize, window: Window) -> Result<Sample> {
    let streams = streams(committers);
    let commit = move |number: usize| {
        let (store, stream) = (store.clone(), streams[number].clone());
        async move {
            let placed = Event::new(KIND, DATA);
            store.commit(Batch::new().append(stream, placed)).await?;
            Ok(())
        }
    };
    load::tasks(committers, window, commit).await
}

/// One for each visit, as large as tokio makes it.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().enable_all().build()?)
}
