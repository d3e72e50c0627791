//! Who runs sagas, and what they are measured by.

mod ours;
pub(crate) mod peer;

use anyhow::Result;
use serde::{Serialize, Serializer};

use super::load::{Sample, Window};
use crate::store::Ground;
use crate::store::load as commits;
use crate::store::subject::Subject as Commits;

/// One way to run sagas, or to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Commits, each in a transaction with an `fsync` of its own.
    SqliteAlone,
    /// Commits to our store in a file.
    SqliteStore,
    /// Our engine on it.
    Sqlite,
    /// duroxide on SQLite, as it comes.
    Duroxide,
    /// The same, with an `fsync` for each commit.
    DuroxideFull,
    /// steno with its store in memory.
    Steno,
    /// Commits to our store on a server.
    PostgresStore,
    /// Our engine on it.
    Postgres,
    /// DBOS on Postgres.
    Dbos,
}

/// What can be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Sqlite,
    Postgres,
}

/// What is left of what was said to be done, when the power is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// All of it.
    Fsync,
    /// All but the last commits.
    WalNormal,
    /// Nothing.
    Memory,
}

impl Group {
    pub(crate) const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// Commits of the store that our engine of this group runs on.
    pub(crate) fn store(self) -> Subject {
        match self {
            Self::Sqlite => Subject::SqliteStore,
            Self::Postgres => Subject::PostgresStore,
        }
    }

    /// Our engine.
    pub(crate) fn ours(self) -> Subject {
        match self {
            Self::Sqlite => Subject::Sqlite,
            Self::Postgres => Subject::Postgres,
        }
    }
}

impl Durability {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::WalNormal => "WAL NORMAL",
            Self::Memory => "memory",
        }
    }
}

impl Subject {
    pub(crate) const ALL: [Self; 9] = [
        Self::SqliteAlone,
        Self::SqliteStore,
        Self::Sqlite,
        Self::Duroxide,
        Self::DuroxideFull,
        Self::Steno,
        Self::PostgresStore,
        Self::Postgres,
        Self::Dbos,
    ];

    pub(crate) fn group(self) -> Group {
        match self {
            Self::PostgresStore | Self::Postgres | Self::Dbos => Group::Postgres,
            _ => Group::Sqlite,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SqliteAlone => "commits: rusqlite, each alone",
            Self::SqliteStore | Self::PostgresStore => "commits: backstay-store",
            Self::Sqlite | Self::Postgres => "backstay-saga",
            Self::Duroxide => "duroxide, as it comes",
            Self::DuroxideFull => "duroxide, synchronous=FULL",
            Self::Steno => "steno, InMemorySecStore",
            Self::Dbos => "dbos",
        }
    }

    pub(crate) fn durability(self) -> Durability {
        match self {
            Self::Duroxide => Durability::WalNormal,
            Self::Steno => Durability::Memory,
            _ => Durability::Fsync,
        }
    }

    /// Whether it is somebody else's engine.
    pub(crate) fn is_peer(self) -> bool {
        matches!(
            self,
            Self::Duroxide | Self::DuroxideFull | Self::Steno | Self::Dbos
        )
    }

    /// Whether more than one at once says anything.
    pub(crate) fn is_shared(self) -> bool {
        self != Self::SqliteAlone
    }

    /// Lets so many run at once for a while, with a new file or new tables.
    pub(crate) fn visit(self, ground: &Ground, at_once: usize, window: Window) -> Result<Sample> {
        match self {
            Self::SqliteAlone => commit(Commits::SqliteAlone, ground, at_once, window),
            Self::SqliteStore => commit(Commits::Sqlite, ground, at_once, window),
            Self::PostgresStore => commit(Commits::Postgres, ground, at_once, window),
            Self::Sqlite => ours::visit_sqlite(ground, at_once, window),
            Self::Postgres => ours::visit_postgres(ground, at_once, window),
            Self::Duroxide => peer::visit(ground, "duroxide", at_once, window),
            Self::DuroxideFull => peer::visit(ground, "duroxide-full", at_once, window),
            Self::Steno => peer::visit(ground, "steno", at_once, window),
            Self::Dbos => peer::visit_postgres(ground, "dbos", at_once, window),
        }
    }
}

fn commit(to: Commits, ground: &Ground, at_once: usize, window: Window) -> Result<Sample> {
    let Window { warm_up, measured } = window;
    let sample = to.visit(ground, at_once, commits::Window { warm_up, measured })?;
    Ok(Sample {
        rate: sample.rate,
        p50: Some(sample.p50),
        p99: Some(sample.p99),
    })
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

impl Serialize for Durability {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}
