//! The pieces of work that are measured.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use backstay::cqrs::{Commands, Decider, Events, Memory, Projection, Seen, Table};
use backstay::store::{Append, Batch, Event as Stored, Position, SqliteStore};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::clock;
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
}

/// How much of it is done in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rounds: usize,
    commands: usize,
    events: u64,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        rounds: 7,
        commands: 500,
        events: 100_000,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        commands: 50,
        events: 5_000,
    };
}

/// So many commands at once.
const AT_ONCE: usize = 64;
const LONG: Duration = Duration::from_mins(2);

impl From<Work> for &'static str {
    fn from(work: Work) -> Self {
        work.name()
    }
}

impl Work {
    const ALL: [Self; 6] = [
        Self::Commit,
        Self::Command,
        Self::ManyCommands,
        Self::IntoMemory,
        Self::IntoSqlite,
        Self::Shown,
    ];

    /// Those whose name has the text.
    pub(crate) fn chosen(text: &str) -> Result<Vec<Self>> {
        let text = text.to_lowercase();
        let chosen: Vec<Self> = Self::ALL
            .into_iter()
            .filter(|work| work.name().contains(&text))
            .collect();
        ensure!(!chosen.is_empty(), "no work has {text:?} in its name");
        Ok(chosen)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit of rusqlite, one at a time: p50",
            Self::Command => "command, one at a time: p50",
            Self::ManyCommands => "commands, 64 at once",
            Self::IntoMemory => "read model in memory, catching up",
            Self::IntoSqlite => "read model in SQLite, catching up",
            Self::Shown => "shown in SQLite after a command: p50",
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Commit | Self::Command | Self::Shown => "us",
            Self::ManyCommands => "per s",
            Self::IntoMemory | Self::IntoSqlite => "events/s",
        }
    }

    pub(crate) fn measure(self, ground: &Ground, size: Size) -> Result<f64> {
        let folder = tempfile::tempdir_in(ground.folder.path())?;
        let file = folder.path().join("bench.db");
        if self == Self::Commit {
            return commits(&file, size.commands);
        }
        let runtime = Runtime::new()?;
        runtime.block_on(async {
            let store = SqliteStore::open(&file).await?;
            match self {
                Self::Commit => unreachable!("it needs no store"),
                Self::Command => one_by_one(&store, size.commands).await,
                Self::ManyCommands => at_once(&store, size.commands).await,
                Self::IntoMemory => into_memory(&store, size.events).await,
                Self::IntoSqlite => into_sqlite(&store, folder.path(), size.events).await,
                Self::Shown => shown(&store, folder.path(), size.commands).await,
            }
        })
    }
}

struct Accounts;

#[derive(Serialize, Deserialize)]
enum Event {
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

fn accounts(store: &SqliteStore) -> Result<Commands<Accounts>> {
    let commands = Commands::builder(store.clone(), "account", Accounts, Events::new()?);
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
    let accounts = accounts(store)?;
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
    let accounts = accounts(store)?;
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
async fn fill(store: &SqliteStore, events: u64) -> Result<Position> {
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

fn per_second(events: u64, since: Instant) -> f64 {
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
    let accounts = accounts(store)?;
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
