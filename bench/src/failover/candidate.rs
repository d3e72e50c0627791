//! Candidates: this program again, told by its environment what to do.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use backstay::lease::{BootClock, Clock, Election, Leadership, Moment};
use backstay::store::{Batch, Event, PostgresStore, SqliteStore, Store, Version};
use tempfile::TempDir;

const VARIABLE: &str = "BACKSTAY_BENCH_CANDIDATE";

/// Where leases live, and the log that leaders write.
#[derive(Debug)]
pub(super) enum Home {
    Sqlite(TempDir),
    Postgres(String),
}

impl Home {
    fn name(&self) -> String {
        match self {
            Self::Sqlite(folder) => folder.path().join("store.db").display().to_string(),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// The tokens in the log of a job, in their order.
    pub(super) fn tokens(&self, job: &str, mut after: Version) -> Result<Vec<u64>> {
        runtime()?.block_on(async {
            let store = open(&self.name()).await?;
            let mut tokens = Vec::new();
            loop {
                let events = store.read(job, after, 1_000).await?;
                let Some(last) = events.last() else {
                    return Ok(tokens);
                };
                after = last.version;
                for event in &events {
                    tokens.push(std::str::from_utf8(&event.data)?.parse()?);
                }
            }
        })
    }
}

async fn open(name: &str) -> Result<Store> {
    if name.starts_with("postgres") {
        Ok(PostgresStore::connect(name).await?.store())
    } else {
        Ok(SqliteStore::open(name).await?.store())
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(2).enable_all().build()?)
}

/// A process that stands for a lease. It ends with this.
#[derive(Debug)]
pub(super) struct Candidate {
    child: Child,
    last: Arc<Mutex<Option<(u64, Moment)>>>,
}

impl Candidate {
    pub(super) fn start(home: &Home, job: &str, ttl: Duration) -> Result<Self> {
        let words = format!("{}\n{job}\n{}", home.name(), ttl.as_millis());
        let mut child = Command::new(env::current_exe()?)
            .env(VARIABLE, words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("it is piped")?;
        let last = Arc::<Mutex<Option<(u64, Moment)>>>::default();
        let told = last.clone();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let write = line.split_once(' ').and_then(|(token, at)| {
                    Some((token.parse().ok()?, Moment::from_nanos(at.parse().ok()?)))
                });
                *told.lock().unwrap_or_else(PoisonError::into_inner) = write;
            }
        });
        Ok(Self { child, last })
    }

    /// Its last accepted write, if it has led.
    pub(super) fn last_write(&self) -> Option<(u64, Moment)> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        Ok(())
    }

    /// Tells it to resign; it ends by itself.
    pub(super) fn resign(mut self) {
        drop(self.child.stdin.take());
        thread::spawn(move || {
            let mut ended = self;
            let _ = ended.child.wait();
        });
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stands for a lease, if this process was started for that.
pub(crate) fn stand() -> Option<Result<()>> {
    let words = env::var(VARIABLE).ok()?;
    Some(stand_for(&words))
}

fn stand_for(words: &str) -> Result<()> {
    let [home, job, ttl] = words.split('\n').collect::<Vec<_>>()[..] else {
        return Err(anyhow!("{VARIABLE} has a home, a job and a time"));
    };
    let ttl = Duration::from_millis(ttl.parse()?);
    runtime()?.block_on(async {
        let store = open(home).await?;
        let election = Election::builder(store.clone(), job).ttl(ttl).build()?;
        let lead = async |leadership: Leadership| {
            let event = Event::new("led", leadership.token().to_string());
            let batch = Batch::new().append(job, event).fenced(leadership.fence());
            store.commit(batch).await?;
            let at = BootClock.now().as_nanos();
            let line = format!("{} {at}\n", leadership.token());
            io::stdout().lock().write_all(line.as_bytes())?;
            std::future::pending().await
        };
        let orphaned = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            while io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {}
        });
        tokio::select! {
            done = election.run(lead) => done?,
            _ = orphaned => {
                election.resign().await;
                Ok(())
            }
        }
    })
}
