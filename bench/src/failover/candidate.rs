//! Candidates: this program again, told by its environment what to do.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use backstay::lease::{BootClock, Clock, Election, Leadership, Moment};
use backstay::store::{Batch, CommitError, Event, PostgresStore, SqliteStore, Store, Version};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// Between a leader's look at the lease and its write, and after that.
const WORK: Duration = Duration::from_millis(20);
const REST: Duration = Duration::from_millis(5);
/// Said before the work.
const WORKS: &str = "works";
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
    told: Arc<Mutex<Told>>,
}

/// What a candidate has said.
#[derive(Debug, Default)]
struct Told {
    /// The first accepted write of its last term.
    first: Option<(u64, Moment)>,
    /// How often it has begun to work.
    works: u64,
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
        let told = Arc::<Mutex<Told>>::default();
        let said = told.clone();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let mut told = said.lock().unwrap_or_else(PoisonError::into_inner);
                told.works += u64::from(line == WORKS);
                let write = line.split_once(' ').and_then(|(token, at)| {
                    Some((token.parse().ok()?, Moment::from_nanos(at.parse().ok()?)))
                });
                let token = |write: Option<(u64, Moment)>| write.map(|(token, _)| token);
                if write.is_some() && token(told.first) != token(write) {
                    told.first = write;
                }
            }
        });
        Ok(Self { child, told })
    }

    /// The first accepted write of its last term, if it has led.
    pub(super) fn first_write(&self) -> Option<(u64, Moment)> {
        self.told().first
    }

    /// Stops it when it has looked at its lease and not yet written.
    ///
    /// A process that is stopped in the middle of a commit would hold the file of a SQLite store against everybody.
    pub(super) fn stop_before_write(&self) -> Result<()> {
        let works = self.told().works;
        while self.told().works == works {
            thread::park_timeout(Duration::from_micros(100));
        }
        self.signal(Signal::STOP)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        Ok(())
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
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

/// Some work and one write; false if it was refused.
async fn write(store: &Store, job: &str, leadership: &Leadership) -> Result<bool> {
    io::stdout()
        .lock()
        .write_all(format!("{WORKS}\n").as_bytes())?;
    tokio::time::sleep(WORK).await;
    let event = Event::new("led", leadership.token().to_string());
    let batch = Batch::new().append(job, event).fenced(leadership.fence());
    match store.commit(batch).await {
        Ok(_) => {}
        Err(CommitError::Fenced { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let at = BootClock.now().as_nanos();
    let line = format!("{} {at}\n", leadership.token());
    io::stdout().lock().write_all(line.as_bytes())?;
    Ok(true)
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
            // A client that blocks: nothing comes between its look at the lease and its write.
            while block_in_place(|| Handle::current().block_on(write(&store, job, &leadership)))? {
                tokio::time::sleep(REST).await;
            }
            // Somebody else leads, and this term ends.
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
