//! Other processes: this test binary again, told what to do by its environment.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use backstay_store::SqliteStore;
use backstay_store::sqlite::rusqlite::Connection;
use tokio::task::{JoinSet, spawn_blocking};

use crate::ledger::{Load, Told, id};

const VARIABLE: &str = "BACKSTAY_STORE_PROCESS";
/// No process lives for longer, whatever becomes of the test that started it.
const LONGEST: Duration = Duration::from_secs(60);

/// What a process does: its work, from which batch on, how many, by how many tasks, with how large a blob.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) what: What,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) tasks: u64,
    pub(crate) load: Load,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Commits batches.
    Commit,
    /// Commits batches, and copies the log into the file now and then as another process may.
    CommitAndCheckpoint,
    /// Copies the store.
    BackUp,
    /// Says which batches are in the store.
    Find,
    /// Holds the file against everybody until its input ends.
    Lock,
    /// Holds off those who write until its input ends.
    LockWrites,
}

const ALL: [What; 6] = [
    What::Commit,
    What::CommitAndCheckpoint,
    What::BackUp,
    What::Find,
    What::Lock,
    What::LockWrites,
];

impl Work {
    pub(crate) fn new(what: What) -> Self {
        Self {
            what,
            first: 0,
            count: 0,
            tasks: 1,
            load: Load::default(),
        }
    }

    /// How the process is started.
    pub(crate) fn command(self, path: &Path) -> Command {
        let mut command = Command::new(env::current_exe().expect("this binary"));
        let what = ALL.iter().position(|what| *what == self.what);
        let words = [
            what.expect("all are listed") as u64,
            self.first,
            self.count,
            self.tasks,
            self.load.blob as u64,
        ];
        let words = words.map(|word| word.to_string()).join(" ");
        command
            .args(["--exact", "process::process", "--nocapture"])
            .args(["--test-threads", "1"])
            .env(VARIABLE, format!("{words} {}", path.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    fn from_words(words: &str) -> (Self, String) {
        let words: Vec<_> = words.splitn(6, ' ').collect();
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let size = |at: usize| usize::try_from(number(at)).expect("a size");
        let work = Self {
            what: ALL[size(0)],
            first: number(1),
            count: number(2),
            tasks: number(3),
            load: Load { blob: size(4) },
        };
        (work, words[5].to_owned())
    }
}

/// A process that was started, and ends with this at the latest.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: io::Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("a process");
        let out = child.stdout.take().expect("it is piped");
        let lines = BufReader::new(out).lines();
        Self { child, lines }
    }

    /// The next line that it says; none after its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        self.lines.next().and_then(Result::ok)
    }

    /// Waits for a line.
    pub(crate) fn wait_for(&mut self, line: &str) {
        while let Some(said) = self.line() {
            if said == line {
                return;
            }
        }
        panic!("the process ended and did not say {line:?}");
    }

    /// Ends it as `kill -9` does, and hears what it had still said.
    pub(crate) fn kill(mut self, told: &mut Told) -> ExitStatus {
        self.child.kill().expect("a signal");
        self.hear_out(told)
    }

    /// Hears it until it ends by itself.
    pub(crate) fn hear_out(mut self, told: &mut Told) -> ExitStatus {
        drop(self.child.stdin.take());
        while let Some(line) = self.line() {
            told.hear(&line);
        }
        self.child.wait().expect("its end")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other process does. In the tests' own process it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process() {
    let Ok(words) = env::var(VARIABLE) else {
        return;
    };
    // The harness has begun a line.
    say("\nstarted");
    let (work, path) = Work::from_words(&words);
    tokio::time::timeout(LONGEST, work.run(path))
        .await
        .expect("it takes far less time");
}

/// One write to standard output, which is not captured this way.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())
        .expect("somebody listens");
}

impl Work {
    async fn run(self, path: String) {
        match self.what {
            What::Commit | What::CommitAndCheckpoint => self.commit(&path).await,
            What::BackUp => back_up(&path).await,
            What::Find => self.find(&path).await,
            What::Lock => hold(path, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").await,
            What::LockWrites => hold(path, "BEGIN IMMEDIATE").await,
        }
    }

    async fn commit(self, path: &str) {
        let store = SqliteStore::open(path).await.expect("a store");
        let next = Arc::new(AtomicU64::new(self.first));
        let mut tasks = JoinSet::new();
        for _ in 0..self.tasks {
            let (store, next, path) = (store.clone(), next.clone(), path.to_owned());
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= self.first + self.count {
                        return;
                    }
                    say(&format!("try {number}"));
                    let commit = store.commit(self.load.batch(number)).await;
                    let commit = commit.expect("a commit");
                    say(&format!("ack {number} {}", commit.position));
                    if self.what == What::CommitAndCheckpoint && number % 16 == 15 {
                        checkpoint(path.clone(), number / 16).await;
                    }
                }
            });
        }
        tasks.join_all().await;
    }

    async fn find(self, path: &str) {
        let store = SqliteStore::open(path).await.expect("a store");
        for number in self.first..self.first + self.count {
            let found = store.find(id(number)).await.expect("a read");
            if let Some(commit) = found {
                say(&format!("ack {number} {}", commit.position));
            }
        }
    }
}

async fn back_up(path: &str) {
    let store = SqliteStore::open(path).await.expect("a store");
    let copy = Path::new(path).with_extension("copy");
    store.back_up(copy).await.expect("a copy");
}

async fn checkpoint(path: String, turn: u64) {
    let modes = ["PASSIVE", "RESTART", "TRUNCATE", "FULL"];
    let mode = modes[usize::try_from(turn).expect("small") % modes.len()];
    let run = move || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
    };
    let done = spawn_blocking(run).await.expect("no panic");
    // Another one may be at it.
    if let Err(error) = done {
        assert!(error.to_string().contains("locked"), "{error}");
    }
}

async fn hold(path: String, lock: &'static str) {
    let run = move || {
        let connection = Connection::open(path).expect("a file");
        connection.execute_batch(lock).expect("a lock");
        say("held");
        let mut rest = String::new();
        // Its end is all that is waited for.
        let _ = io::stdin().read_line(&mut rest);
    };
    spawn_blocking(run).await.expect("no panic");
}
