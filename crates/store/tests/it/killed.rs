//! What is left by a process that is killed.

use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use backstay_store::SqliteStore;
use tempfile::TempDir;

use crate::ledger::{Load, Told, holds, holds_again};
use crate::process::{Process, What, Work};
use crate::seed::chance;
use crate::shim::preload;

/// More than a process commits before it is killed.
const NO_END: u64 = 1_000_000;
const KILLED: Option<i32> = Some(9);

/// A store that processes write to and are killed at, one after another.
struct Ground {
    folder: TempDir,
    told: Told,
    load: Load,
}

impl Ground {
    fn new(load: Load) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            told: Told::default(),
            load,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    fn work(&self, what: What, tasks: u64) -> Work {
        Work {
            what,
            first: self.told.tried.last().map_or(0, |last| last + 1),
            count: NO_END,
            tasks,
            load: self.load,
        }
    }

    /// Runs a process that kills itself at a point.
    fn die_at(&mut self, work: Work, point: &str) {
        let mut command = work.command(&self.path());
        preload(&mut command, self.folder.path());
        command.env("SHIM_KILL", point);
        let ended = Process::start(command).hear_out(&mut self.told);
        assert_eq!(ended.signal(), KILLED, "{point} was not reached");
    }

    /// Opens what the process has left, and looks.
    async fn look(&mut self, point: &str) {
        let store = SqliteStore::open(self.path()).await.expect(point);
        holds(&store, &self.told).await.expect(point);
        holds_again(&store, &mut self.told, self.load)
            .await
            .expect(point);
    }
}

/// STO-2: what was acknowledged is there after `kill -9` at any moment, many committing at once, and nothing in part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing() {
    let mut chance = chance("a_killed_process_loses_nothing");
    for _ in 0..6 {
        let mut ground = Ground::new(Load::default());
        for tasks in [1, 8, 64, 200, 64, 8] {
            let work = ground.work(What::Commit, tasks);
            let mut process = Process::start(work.command(&ground.path()));
            // Said are a "try" and an "ack" for each.
            for _ in 0..chance.u64(1..=6 * tasks + 60) {
                let line = process.line().expect("it commits until it is killed");
                ground.told.hear(&line);
            }
            let ended = process.kill(&mut ground.told);
            assert_eq!(ended.signal(), KILLED);
            ground.look("killed from outside").await;
        }
    }
}

/// Where the process kills itself, and for the how many-th time that it is there.
const POINTS: [(&str, RangeInclusive<u64>); 10] = [
    // Before BEGIN.
    ("begin", 2..=12),
    // Between the tasks' statements and the first byte of COMMIT, or between two of its writes.
    ("wal-write", 1..=120),
    ("wal-half", 1..=120),
    ("wal-sync", 1..=12),
    ("wal-synced", 1..=12),
    // After COMMIT, before the answers.
    ("end", 2..=12),
    // During a checkpoint.
    ("db-write", 3..=30),
    ("db-half", 3..=30),
    ("db-sync", 3..=5),
    ("db-synced", 3..=5),
];

/// STO-2: the same at each step of a commit and of a checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_any_step_loses_nothing() {
    let mut chance = chance("a_process_killed_at_any_step_loses_nothing");
    for _ in 0..3 {
        let mut ground = Ground::new(Load::default());
        for (at, times) in POINTS {
            let at = format!("{at}:{}", chance.u64(times));
            let work = ground.work(What::CommitAndCheckpoint, 32);
            ground.die_at(work, &at);
            ground.look(&at).await;
        }
    }
}

/// STO-2: a process that is killed while it makes the file leaves one that opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_at_the_first_steps_leaves_a_file_that_opens() {
    for at in [
        "db-write",
        "db-half",
        "db-sync",
        "begin",
        "wal-write",
        "wal-half",
    ] {
        let at = format!("{at}:1");
        let mut ground = Ground::new(Load::default());
        let work = ground.work(What::Commit, 4);
        ground.die_at(work, &at);
        assert!(ground.told.acked.is_empty(), "{at}");
        ground.look(&at).await;
    }
}

/// STO-2: the same in the checkpoint that a full log sets off by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_in_its_own_checkpoint_loses_nothing() {
    let mut chance = chance("a_process_killed_in_its_own_checkpoint_loses_nothing");
    for (at, times) in [
        ("db-write", 3..=150),
        ("db-half", 3..=150),
        ("db-synced", 3..=3),
    ] {
        let at = format!("{at}:{}", chance.u64(times));
        let mut ground = Ground::new(Load { blob: 200_000 });
        let work = ground.work(What::Commit, 16);
        ground.die_at(work, &at);
        assert!(ground.told.acked.len() > 20, "{at}: no log was full");
        ground.look(&at).await;
    }
}
