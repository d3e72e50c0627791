//! What is left by a loss of power.
//!
//! A process commits and the shim writes down what it asks of the disk. From that the disk is built as it may be after
//! a loss of power at any moment, and opened. The `-shm` file is memory that processes share and no part of what is
//! durable: whoever opens a file first makes it anew. It is left away, or filled with anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_store::SqliteStore;
use backstay_store::sqlite::rusqlite::Connection;
use tempfile::TempDir;

use crate::disk::{KEPT, Kept, Op, after_power_loss, read_log};
use crate::ledger::{Broken, Load, Told, holds, holds_again};
use crate::process::{Process, What, Work};
use crate::seed::chance;
use crate::shim::preload;

const LOAD: Load = Load { blob: 3_000 };

/// A folder that a process writes to, and the log of it.
struct Watched {
    folder: TempDir,
    aside: TempDir,
}

impl Watched {
    fn new() -> Self {
        let folder = || tempfile::tempdir().expect("a folder");
        Self {
            folder: folder(),
            aside: folder(),
        }
    }

    fn log(&self) -> PathBuf {
        self.aside.path().join("log")
    }

    /// Runs a process, to its end or to a point where it kills itself. What it says is in the log.
    fn run(&self, work: Work, kill: Option<&str>) {
        let mut command = work.command(&self.folder.path().join("store.db"));
        preload(&mut command, self.folder.path());
        command.env("SHIM_LOG", self.log());
        if let Some(point) = kill {
            command.env("SHIM_KILL", point);
        }
        let ended = Process::start(command).hear_out(&mut Told::default());
        assert_eq!(ended.success(), kill.is_none(), "{ended}");
    }

    /// Many who commit, checkpoints meanwhile, and a second process that goes on where the first has ended.
    fn busy() -> Vec<Op> {
        let watched = Self::new();
        let mut work = Work {
            count: 90,
            tasks: 8,
            load: LOAD,
            ..Work::new(What::CommitAndCheckpoint)
        };
        watched.run(work, None);
        (work.first, work.count) = (90, 60);
        watched.run(work, None);
        read_log(&watched.log())
    }
}

/// What was said before a moment.
fn told(ops: &[Op]) -> Told {
    let mut told = Told::default();
    for op in ops {
        if let Op::Said(said) = op {
            said.lines().for_each(|line| told.hear(line));
        }
    }
    told
}

/// The moments around each sync and each answer, and others.
fn moments(ops: &[Op], chance: &mut fastrand::Rng) -> Vec<usize> {
    let mut moments = vec![ops.len()];
    for (at, op) in ops.iter().enumerate() {
        if matches!(op, Op::Synced { .. } | Op::FolderSynced) {
            // The answers come right after it.
            moments.extend([at, at + 1, (at + 4).min(ops.len())]);
        }
    }
    moments.extend((0..moments.len() / 3).map(|_| chance.usize(..=ops.len())));
    chance.shuffle(&mut moments);
    moments
}

/// Opens such a disk and looks.
async fn look(
    files: &BTreeMap<String, Vec<u8>>,
    mut told: Told,
    chance: &mut fastrand::Rng,
) -> Result<(), Broken> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        if !name.ends_with("-shm") {
            fs::write(folder.path().join(name), content).expect("a file");
        } else if chance.bool() {
            let any: Vec<u8> = (0..32_768).map(|_| chance.u8(..)).collect();
            fs::write(folder.path().join(name), any).expect("a file");
        }
    }
    let store = SqliteStore::open(folder.path().join("store.db")).await;
    let store = store.map_err(|error| Broken::Unsound(format!("{error}: {error:?}")))?;
    holds(&store, &told).await?;
    holds_again(&store, &mut told, LOAD).await
}

/// STO-2: what was acknowledged is there after a loss of power at any moment, and nothing in part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_of_power_loses_nothing() {
    let mut chance = chance("a_loss_of_power_loses_nothing");
    let ops = Watched::busy();
    for (turn, moment) in moments(&ops, &mut chance).into_iter().take(400).enumerate() {
        let before = &ops[..moment];
        let kept = KEPT[turn % KEPT.len()];
        let files = after_power_loss(before, kept, &mut chance, |_| true);
        let looked = look(&files, told(before), &mut chance).await;
        looked.unwrap_or_else(|broken| panic!("{broken:?} at {moment} of {}, {kept:?}", ops.len()));
    }
}

/// STO-2: the same if the power goes after a process was killed before its `fsync`, and another found the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_after_a_crash_survives_a_loss_of_power() {
    let mut chance = chance("what_was_found_after_a_crash_survives_a_loss_of_power");
    for kill in ["wal-sync:4", "wal-sync:6"] {
        let watched = Watched::new();
        let mut work = Work {
            count: 40,
            tasks: 4,
            load: LOAD,
            ..Work::new(What::Commit)
        };
        watched.run(work, Some(kill));
        work.what = What::Find;
        watched.run(work, None);
        let ops = read_log(&watched.log());
        let told = told(&ops);
        assert!(!told.acked.is_empty(), "{kill}: nothing was found");
        // The last process has closed the file, and by that synced it: the power goes before.
        let said = |op: &Op| matches!(op, Op::Said(said) if said.starts_with("ack"));
        let last = ops.iter().rposition(said).expect("it was said");
        for kept in KEPT {
            let files = after_power_loss(&ops[..=last], kept, &mut chance, |_| true);
            let looked = look(&files, told.clone(), &mut chance).await;
            looked.unwrap_or_else(|broken| panic!("{kill}: {broken:?}, {kept:?}"));
        }
    }
}

/// How a disk lies: which syncs do nothing.
type Lie = fn(&Op) -> bool;

/// STO-2: without any one of the syncs something is lost, and these tests see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_does_nothing_is_seen() {
    let mut chance = chance("a_sync_that_does_nothing_is_seen");
    let ops = Watched::busy();
    let lies: [(&str, Lie); 3] = [
        (
            "-wal",
            |op| matches!(op, Op::Synced { name, .. } if name == "store.db-wal"),
        ),
        (
            ".db",
            |op| matches!(op, Op::Synced { name, .. } if name == "store.db"),
        ),
        ("the folder", |op| matches!(op, Op::FolderSynced)),
    ];
    for (name, lie) in lies {
        // A file without its own syncs may also not fit together.
        let is_right = |seen: &Option<Broken>| match seen {
            Some(Broken::Lost(_)) => true,
            Some(_) => name == ".db",
            None => false,
        };
        let mut seen = None;
        for moment in moments(&ops, &mut chance).into_iter().take(200) {
            let before = &ops[..moment];
            let kept = KEPT[1 + chance.usize(..KEPT.len() - 1)];
            let files = after_power_loss(before, kept, &mut chance, |op| !lie(op));
            seen = look(&files, told(before), &mut chance).await.err();
            if is_right(&seen) {
                break;
            }
        }
        assert!(is_right(&seen), "without the sync of {name}: {seen:?}");
    }
}

/// STO-2: an answer that comes before its `fsync` is seen too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_seen() {
    let mut chance = chance("an_early_answer_is_seen");
    let ops = Watched::busy();
    let all = told(&ops);
    for moment in moments(&ops, &mut chance).into_iter().take(200) {
        let before = &ops[..moment];
        let mut early = told(before);
        // As if each were answered as soon as it is asked for.
        for number in &early.tried {
            early.acked.insert(*number, all.acked[number]);
        }
        let files = after_power_loss(before, Kept::Nothing, &mut chance, |_| true);
        if let Err(Broken::Lost(_)) = look(&files, early, &mut chance).await {
            return;
        }
    }
    panic!("nothing was seen");
}

/// STO-2: the shim sees all that is asked of the disk: from its log the files can be made again, byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_the_disk_is_complete() {
    let watched = Watched::new();
    let work = Work {
        count: 60,
        tasks: 4,
        load: LOAD,
        ..Work::new(What::CommitAndCheckpoint)
    };
    watched.run(work, Some("wal-sync:10"));
    let ops = read_log(&watched.log());
    let mut chance = fastrand::Rng::with_seed(0);
    let built = after_power_loss(&ops, Kept::All, &mut chance, |_| true);
    for name in ["store.db", "store.db-wal"] {
        let real = fs::read(watched.folder.path().join(name)).expect("a file");
        assert!(built[name] == real, "{name} is another");
    }
}

/// A change past the store, and which complaint about it is right.
type Harm = (&'static str, fn(&Broken) -> bool);

/// STO-2: whatever part of a batch is gone, the look at it says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_part_is_seen() {
    let half: fn(&Broken) -> bool =
        |broken| matches!(broken, Broken::Half(3, what) if !what.is_empty());
    let lost: fn(&Broken) -> bool = |broken| matches!(broken, Broken::Lost(3));
    let unsound: fn(&Broken) -> bool =
        |broken| matches!(broken, Broken::Unsound(what) if !what.is_empty());
    let harms: [Harm; 6] = [
        ("DELETE FROM backstay_keys WHERE name = 'key-3'", half),
        ("DELETE FROM backstay_fences WHERE name = 'fence-3'", half),
        (
            "DELETE FROM backstay_commits WHERE batch = (SELECT batch FROM backstay_commits \
          ORDER BY batch LIMIT 1 OFFSET 3)",
            half,
        ),
        ("UPDATE backstay_state SET head = head + 1", unsound),
        (
            "UPDATE backstay_events SET version = 9 WHERE CAST(data AS TEXT) = '3/1'",
            unsound,
        ),
        (
            "DELETE FROM backstay_keys WHERE name = 'key-3'; DELETE FROM backstay_fences WHERE name = 'fence-3'; \
          DELETE FROM backstay_events WHERE CAST(data AS TEXT) LIKE '3/%'",
            lost,
        ),
    ];
    for (sql, right) in harms {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("store.db"))
            .await
            .expect("a store");
        let mut told = Told::default();
        for number in 0..5 {
            let commit = store.commit(LOAD.batch(number)).await.expect("a commit");
            told.tried.insert(number);
            told.acked.insert(number, commit.position.get());
        }
        holds(&store, &told).await.expect("all is well");
        harm(store.path(), sql);
        let seen = holds(&store, &told).await.expect_err(sql);
        assert!(right(&seen), "{sql}: {seen:?}");
    }
}

fn harm(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("a file");
    connection.execute_batch(sql).expect("a change");
}
