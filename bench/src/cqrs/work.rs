//! The pieces of work that are measured.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use backstay::cqrs::{Commands, Decider, Events, Memory, Projection, Seen, Table};
use backstay::store::{Append, Batch, Event as Stored, Position, SqliteStore, Store};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::{messages, on_postgres};
use crate::cli::{Cli, Part};
use crate::clock;
use crate::saga::load::Window;
use crate::stats::percentile;
use crate::store::Ground;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub(crate) enum Work {
    Commit,
    Command,
    ManyCommands,
    IntoMemory,
    IntoSqlite,
    Shown,
    PostgresCommand,
    PostgresCommands,
    PeerCommand,
    PeerCommands,
    Relayed,
    Published,
}

/// How much of it is done in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rounds: usize,
    commands: usize,
    events: u64,
    pub(super) messages: u64,
    pub(super) window: Window,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        rounds: 7,
        commands: 500,
        events: 100_000,
        messages: 20_000,
        window: Window {
            warm_up: Duration::from_millis(300),
            measured: Duration::from_secs(2),
        },
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        commands: 50,
        events: 5_000,
        messages: 1_000,
        window: Window {
            warm_up: Duration::from_millis(20),
            measured: Duration::from_millis(200),
        },
    };
}

/// So many commands at once, or messages.
pub(super) const AT_ONCE: usize = 64;
pub(super) const LONG: Duration = Duration::from_mins(2);

impl From<Work> for &'static str {
    fn from(work: Work) -> Self {
        work.name()
    }
}

impl Work {
    const ALL: [Self; 12] = [
        Self::Commit,
        Self::Command,
        Self::ManyCommands,
        Self::IntoMemory,
        Self::IntoSqlite,
        Self::Shown,
        Self::PostgresCommand,
        Self::PostgresCommands,
        Self::PeerCommand,
        Self::PeerCommands,
        Self::Relayed,
        Self::Published,
    ];

    /// Those whose name has the text, without what is left out.
    pub(crate) fn chosen(cli: &Cli) -> Result<Vec<Self>> {
        let text = cli.filter.as_deref().unwrap_or_default().to_lowercase();
        let is_left_out = |work: &Self| {
            (work.needs_postgres() && cli.is_without(Part::Postgres))
                || (work.is_peers() && cli.is_without(Part::Peers))
                || (work.needs_nats() && cli.is_without(Part::Nats))
        };
        let all = Self::ALL.into_iter();
        let chosen: Vec<Self> = all
            .filter(|work| work.name().to_lowercase().contains(&text) && !is_left_out(work))
            .collect();
        ensure!(!chosen.is_empty(), "no work has {text:?} in its name");
        Ok(chosen)
    }

    pub(crate) fn is_peers(self) -> bool {
        matches!(self, Self::PeerCommand | Self::PeerCommands)
    }

    pub(crate) fn needs_postgres(self) -> bool {
        matches!(self, Self::PostgresCommand | Self::PostgresCommands) || self.is_peers()
    }

    fn needs_nats(self) -> bool {
        matches!(self, Self::Relayed | Self::Published)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit of rusqlite, one at a time: p50",
            Self::Command => "command, one at a time: p50",
            Self::ManyCommands => "commands, 64 at once",
            Self::IntoMemory => "read model in memory, catching up",
            Self::IntoSqlite => "read model in SQLite, catching up",
            Self::Shown => "shown in SQLite after a command: p50",
            Self::PostgresCommand => "command on Postgres, one at a time: p50",
            Self::PostgresCommands => "commands on Postgres, 64 at once",
            Self::PeerCommand => "cqrs-es on Postgres, one at a time: p50",
            Self::PeerCommands => "cqrs-es on Postgres, 64 at once",
            Self::Relayed => "messages relayed to NATS",
            Self::Published => "the same published to NATS by hand, 64 at once",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Commit
            | Self::Command
            | Self::Shown
            | Self::PostgresCommand
            | Self::PeerCommand => "us",
            Self::ManyCommands
            | Self::PostgresCommands
            | Self::PeerCommands
            | Self::Relayed
            | Self::Published => "per s",
            Self::IntoMemory | Self::IntoSqlite => "events/s",
        }
    }

    pub(crate) fn measure(self, ground: &Ground, size: Size) -> Result<f64> {
        let folder = tempfile::tempdir_in(ground.folder.path())?;
        let (folder, file) = (folder.path(), folder.path().join("bench.db"));
        match self {
            Self::PeerCommand => return Ok(on_postgres::peer(ground, 1, size)?.0),
            Self::PeerCommands => return Ok(on_postgres::peer(ground, AT_ONCE, size)?.1),
            _ => {}
        }
        let open = async || SqliteStore::open(&file).await;
        let runtime = Runtime::new()?;
        runtime.block_on(async {
            match self {
                Self::Commit => commits(&file, size.commands),
                Self::Command => one_by_one(&open().await?, size.commands).await,
                Self::ManyCommands => at_once(&open().await?, size.commands).await,
                Self::IntoMemory => into_memory(&open().await?, size.events).await,
                Self::IntoSqlite => into_sqlite(&open().await?, folder, size.events).await,
                Self::Shown => shown(&open().await?, folder, size.commands).await,
                Self::PostgresCommand => Ok(on_postgres::ours(ground, 1, size).await?.0),
                Self::PostgresCommands => Ok(on_postgres::ours(ground, AT_ONCE, size).await?.1),
                Self::PeerCommand | Self::PeerCommands => unreachable!("it needs no runtime"),
                Self::Relayed => messages::relayed(&open().await?, size.messages).await,
                Self::Published => messages::published(size.messages).await,
            }
        })
    }
}

pub(super) struct Accounts;

#[derive(Serialize, Deserialize)]
pub(super) enum Event {
    Deposited { cents: u64 },
}

impl Decider for Accounts {
    type State = u64;
    type Command = u64;
    type Event = Event;
    type Error = Infallible;

    fn decide(&self, _: &u64, cents: &u64) -> Result<Vec<Event>, Infallible> {
        Ok(vec![Event::Deposited { cents: *cents }])
    }

    fn evolve(&self, sum: &mut u64, Event::Deposited { cents }: &Event) {
        *sum += cents;
    }
}

pub(super) fn accounts(store: impl Into<Store>) -> Result<Commands<Accounts>> {
    let commands = Commands::builder(store, "account", Accounts, Events::new()?);
    Ok(commands.build()?)
}

fn p50(mut micros: Vec<f64>) -> f64 {
    micros.sort_by(f64::total_cmp);
    percentile(&micros, 50)
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

fn commits(file: &Path, commits: usize) -> Result<f64> {
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT)",
    )?;
    let mut insert = connection.prepare("INSERT INTO rows (text) VALUES (?1)")?;
    let mut times = Vec::with_capacity(commits);
    for _ in 0..commits {
        let since = clock::now();
        insert.execute([r#"{"cents":1}"#])?;
        times.push(micros(since));
    }
    Ok(p50(times))
}

async fn one_by_one(store: &SqliteStore, commands: usize) -> Result<f64> {
    let accounts = accounts(store.clone())?;
    let mut times = Vec::with_capacity(commands);
    for number in 0..commands {
        let id = number.to_string();
        accounts.execute(&id, &1).await?;
        let since = clock::now();
        accounts.execute(&id, &1).await?;
        times.push(micros(since));
    }
    Ok(p50(times))
}

async fn at_once(store: &SqliteStore, commands: usize) -> Result<f64> {
    let accounts = accounts(store.clone())?;
    let since = clock::now();
    let tasks = (0..AT_ONCE).map(|task| {
        let accounts = accounts.clone();
        tokio::spawn(async move {
            for _ in 0..commands {
                accounts.execute(&task.to_string(), &1).await?;
            }
            anyhow::Ok(())
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        task.await??;
    }
    let all = (AT_ONCE * commands) as f64;
    Ok(all / since.elapsed().as_secs_f64())
}

/// A log of so many events of a thousand things.
pub(super) async fn fill(store: &SqliteStore, events: u64) -> Result<Position> {
    let mut last = Position::START;
    for page in 0..events / 1_000 {
        let batch = (0..1_000).fold(Batch::new(), |batch, number| {
            let event = Stored::new("Deposited", r#"{"cents":1}"#);
            batch.append(
                format!("account/{}", (number + page) % 1_000),
                Append::new(event),
            )
        });
        last = store.store().commit(batch).await?.position;
    }
    Ok(last)
}

pub(super) fn per_second(events: u64, since: Instant) -> f64 {
    (events / 1_000 * 1_000) as f64 / since.elapsed().as_secs_f64()
}

async fn into_memory(store: &SqliteStore, events: u64) -> Result<f64> {
    let last = fill(store, events).await?;
    let since = clock::now();
    let projection = Projection::new(store.clone(), "sum", "account", Events::new()?);
    let model: Memory<u64> = projection.memory(|sum: &mut u64, seen: &Seen<Event>| {
        let Event::Deposited { cents } = seen.event();
        *sum += cents;
        Ok::<_, Infallible>(())
    })?;
    model.at_least(last, LONG).await?;
    let rate = per_second(events, since);
    ensure!(
        model.read(|sum| *sum) == events / 1_000 * 1_000,
        "some are missing"
    );
    Ok(rate)
}

/// A row for each thing.
struct Balances;

type Rows<'t> = rusqlite::Transaction<'t>;

impl Table<SqliteStore> for Balances {
    type Event = Event;
    type Error = rusqlite::Error;

    fn create<'t>(&self, rows: &'t Rows<'t>, generation: u32) -> rusqlite::Result<()> {
        rows.execute_batch(&format!(
            "CREATE TABLE balances_{generation} (id TEXT PRIMARY KEY, cents INTEGER NOT NULL)"
        ))
    }

    fn apply<'t>(
        &self,
        rows: &'t Rows<'t>,
        generation: u32,
        events: Arc<[Seen<Event>]>,
    ) -> rusqlite::Result<()> {
        let mut change = rows.prepare_cached(&format!(
            "INSERT INTO balances_{generation} (id, cents) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET cents = cents + excluded.cents"
        ))?;
        for seen in events.iter() {
            let Event::Deposited { cents } = seen.event();
            change.execute((seen.id(), i64::try_from(*cents).unwrap_or(i64::MAX)))?;
        }
        Ok(())
    }

    fn discard<'t>(&self, rows: &'t Rows<'t>, generation: u32) -> rusqlite::Result<()> {
        rows.execute_batch(&format!("DROP TABLE balances_{generation}"))
    }
}

async fn into_sqlite(store: &SqliteStore, folder: &Path, events: u64) -> Result<f64> {
    let last = fill(store, events).await?;
    let views = SqliteStore::open(folder.join("views.db")).await?;
    let since = clock::now();
    let projection = Projection::new(store.clone(), "balances", "account", Events::new()?);
    let model = projection.tables(&views, Balances)?;
    model.at_least(last, LONG).await?;
    Ok(per_second(events, since))
}

async fn shown(store: &SqliteStore, folder: &Path, commands: usize) -> Result<f64> {
    let views = SqliteStore::open(folder.join("views.db")).await?;
    let accounts = accounts(store.clone())?;
    let projection = Projection::new(store.clone(), "balances", "account", Events::new()?);
    let model = projection.tables(&views, Balances)?;
    let first = accounts.execute("0", &1).await?;
    model.at_least(first.position, LONG).await?;
    let mut times = Vec::with_capacity(commands);
    for number in 0..commands {
        let done = accounts.execute(&number.to_string(), &1).await?;
        let since = clock::now();
        model.at_least(done.position, LONG).await?;
        times.push(micros(since));
    }
    Ok(p50(times))
}
