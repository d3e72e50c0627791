//! What is said of a file that can't be used, and that a file can be used again after what was wrong is over.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_store::sqlite::rusqlite::Connection;
use backstay_store::{
    BackUpError, Batch, Cause, CommitError, Effect, Event, Fence, OpenError, Owner, Position,
    SqliteOptions, SqliteStore, Version,
};
use futures_util::future::join_all;
use tempfile::TempDir;

use crate::ledger::{Load, Told, holds};
use crate::process::{Process, What, Work};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    (folder, path)
}

/// A file with all in it and no log beside it, which nobody has open.
async fn closed(path: &Path, batches: u64) -> Told {
    let (_folder, open) = folder();
    let store = SqliteStore::open(open).await.expect("a store");
    let mut told = Told::default();
    commit(&store, &mut told, 0..batches).await;
    store.back_up(path).await.expect("a copy");
    told
}

async fn commit(store: &SqliteStore, told: &mut Told, numbers: std::ops::Range<u64>) {
    let commits = numbers.map(|number| async move {
        let commit = store.commit(Load::default().batch(number)).await;
        (number, commit.expect("a commit").position.get())
    });
    for (number, position) in join_all(commits).await {
        told.tried.insert(number);
        told.acked.insert(number, position);
    }
}

/// STO-2: a file that is no database is refused, and left as it is.
#[tokio::test]
async fn what_is_no_database_is_refused() {
    let (_folder, path) = folder();
    let text = "a letter to somebody\n".repeat(1_000);
    fs::write(&path, &text).expect("a file");
    let refused = SqliteStore::open(&path).await;
    assert!(
        matches!(refused, Err(OpenError::Corrupt { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read_to_string(&path).expect("a file"), text);
}

/// STO-2: a file in a folder that is not there is refused.
#[tokio::test]
async fn a_folder_that_is_not_there_is_said() {
    let (folder, _) = folder();
    let refused = SqliteStore::open(folder.path().join("none/store.db")).await;
    assert!(matches!(refused, Err(OpenError::Io { .. })), "{refused:?}");
}

/// STO-2: what is refused is named, with the reason.
#[tokio::test]
async fn what_is_refused_is_named() {
    let (folder, path) = folder();
    let shown = folder.path().display();
    let foreign = |name: &str, sql: &str| {
        let path = folder.path().join(name);
        let connection = Connection::open(&path).expect("a file");
        connection.execute_batch(sql).expect("a table");
        path
    };
    let limit = "must name a file; MemoryStore keeps a store in memory";
    for (place, wanted) in [
        (PathBuf::new(), format!("path = \"\": {limit}")),
        (":memory:".into(), format!("path = \":memory:\": {limit}")),
        (folder.path().into(), format!("{shown} is a directory")),
        (
            folder.path().join("none/a.db"),
            format!("{shown}/none/a.db can't be reached: No such file or directory (os error 2)"),
        ),
        (
            foreign("events.db", "CREATE TABLE backstay_events (x)"),
            format!("{shown}/events.db has tables named backstay_* that are not a store's"),
        ),
        (
            foreign("state.db", "CREATE TABLE backstay_state (x)"),
            format!("{shown}/state.db has tables named backstay_* that are not a store's"),
        ),
    ] {
        let refused = SqliteStore::open(&place).await.expect_err("it is no place");
        assert_eq!(refused.to_string(), wanted);
    }
    // Tables of others are no hindrance.
    let other = foreign(
        "other.db",
        "CREATE TABLE users (x); CREATE TABLE backstayed (x)",
    );
    SqliteStore::open(other).await.expect("a store");

    let store = SqliteStore::open(&path).await.expect("a store");
    for (place, wanted) in [
        (path.clone(), "is there already"),
        (folder.path().into(), "is there already"),
        (
            folder.path().join("none/copy.db"),
            "can't be made: its folder is not there",
        ),
        (folder.path().join(".."), "is there already"),
        (folder.path().join("none/.."), "is no name for a file"),
    ] {
        let refused = store.back_up(&place).await.expect_err("it is no place");
        assert_eq!(refused.to_string(), format!("{} {wanted}", place.display()));
    }
}

/// What is done to a file of so many bytes.
type Harm = fn(&fs::File, u64) -> io::Result<()>;

/// STO-2: a file that was cut off or written over is refused, or the check tells of it; nothing panics.
#[tokio::test]
async fn a_damaged_file_is_told() {
    let cut = |file: &fs::File, size| file.set_len(size / 2);
    let pages = |file: &fs::File, size| {
        (2..size / 4_096).try_for_each(|page| file.write_all_at(&[0xA5; 4_096], page * 4_096))
    };
    let head = |file: &fs::File, _| file.write_all_at(&[0xA5; 100], 0);
    let harms: [Harm; 3] = [cut, pages, head];
    for (number, harm) in harms.iter().enumerate() {
        let (_folder, path) = folder();
        closed(&path, 50).await;
        let file = fs::File::options().write(true).open(&path).expect("a file");
        harm(&file, file.metadata().expect("a size").len()).expect("a write");
        drop(file);
        let store = match SqliteStore::open(&path).await {
            Ok(store) => store,
            Err(OpenError::Corrupt { .. }) => continue,
            Err(other) => panic!("{number}: {other:?}"),
        };
        let check = store.check().await;
        assert_ne!(check, Ok(Vec::new()), "{number}");
        if let Err(CommitError::Unavailable(refused)) =
            store.commit(Load::default().batch(60)).await
        {
            assert_eq!(
                (refused.cause(), refused.effect()),
                (Cause::Corrupt, Effect::NotExecuted)
            );
        }
    }
}

/// STO-8: a file of a newer version is refused, with both versions.
#[tokio::test]
async fn a_newer_file_is_refused() {
    let (_folder, path) = folder();
    closed(&path, 1).await;
    let connection = Connection::open(&path).expect("a file");
    connection
        .execute("UPDATE backstay_state SET schema = 99", [])
        .expect("a change");
    drop(connection);
    let refused = SqliteStore::open(&path).await;
    let right = matches!(
        refused,
        Err(OpenError::Newer {
            found: 99,
            known: 1,
            ..
        })
    );
    assert!(right, "{refused:?}");
}

/// STO-2: who waits longer than it may for another process is told that nothing was changed.
#[tokio::test]
async fn a_locked_file_is_busy() {
    let (_folder, path) = folder();
    let options = SqliteOptions::new().busy_timeout(Duration::from_millis(20));
    let store = options.clone().open(&path).await.expect("a store");
    let mut other = Process::start(Work::new(What::LockWrites).command(&path));
    other.wait_for("held");
    let Err(CommitError::Unavailable(busy)) = store.commit(Load::default().batch(0)).await else {
        panic!("nobody held it");
    };
    assert_eq!(
        (busy.cause(), busy.effect()),
        (Cause::Busy, Effect::NotExecuted)
    );
    let beside = options.open(&path).await;
    assert!(
        beside.is_ok(),
        "whoever opens does not wait for those who write: {beside:?}"
    );
    assert!(other.hear_out(&mut Told::default()).success());
    let mut told = Told::default();
    commit(&store, &mut told, 0..1).await;
    holds(&store, &told).await.expect("it goes on");
}

/// STO-2: a file that another process has for itself is not opened.
#[tokio::test]
async fn a_file_of_another_process_is_locked() {
    let (_folder, path) = folder();
    closed(&path, 1).await;
    let mut other = Process::start(Work::new(What::Lock).command(&path));
    other.wait_for("held");
    let options = SqliteOptions::new().busy_timeout(Duration::from_millis(20));
    let refused = options.clone().open(&path).await;
    assert!(
        matches!(refused, Err(OpenError::Locked { .. })),
        "{refused:?}"
    );
    assert!(other.hear_out(&mut Told::default()).success());
    options.open(&path).await.expect("it is free");
}

/// STO-2: two processes commit to one file at once, and nothing of either is lost.
#[tokio::test]
async fn two_processes_share_a_file() {
    let (_folder, path) = folder();
    let work = |first| Work {
        first,
        count: 150,
        tasks: 8,
        ..Work::new(What::CommitAndCheckpoint)
    };
    let start = |first| Process::start(work(first).command(&path));
    let mut told = Told::default();
    for process in [start(0), start(1_000)] {
        assert!(process.hear_out(&mut told).success());
    }
    assert_eq!(told.acked.len(), 300);
    let store = SqliteStore::open(&path).await.expect("a store");
    holds(&store, &told).await.expect("all is there");
}

/// STO-8: a copy made while others write is whole, and has what was acknowledged before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment() {
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a store");
    let mut told = Told::default();
    commit(&store, &mut told, 0..100).await;
    let before = told.clone();
    told.tried.extend(100..400);
    for turn in 0..3 {
        let first = 100 + turn * 100;
        let copy = folder.path().join(format!("copy-{turn}.db"));
        let more = commit(&store, &mut told, first..first + 100);
        let ((), copied) = tokio::join!(more, store.back_up(&copy));
        copied.expect("a copy");
        let copied = SqliteStore::open(&copy).await.expect("a store");
        let expected = Told {
            tried: told.tried.clone(),
            acked: before.acked.clone(),
        };
        holds(&copied, &expected).await.expect("it is whole");
        assert!(store.back_up(&copy).await.is_err(), "it is there already");
    }
    holds(&store, &told).await.expect("all is there");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.into_string().expect("text"))
        .collect();
    names.sort();
    names
}

fn is_part(name: &str) -> bool {
    Path::new(name).extension() == Some("part".as_ref())
}

/// STO-8: what a killed copy leaves has another name, and what has the copy's name is whole.
#[tokio::test]
async fn a_killed_copy_is_none() {
    let mut parts = 0;
    for turn in 0..8 {
        let (folder, path) = folder();
        let store = SqliteStore::open(&path).await.expect("a store");
        let load = Load { blob: 100_000 };
        let mut told = Told::default();
        for number in 0..50 {
            let commit = store.commit(load.batch(number)).await.expect("a commit");
            told.tried.insert(number);
            told.acked.insert(number, commit.position.get());
        }
        let process = Process::start(Work::new(What::BackUp).command(&path));
        // Each time a little later.
        let mut seen = 0;
        while seen <= turn * 20 {
            let names = names(folder.path());
            seen += u64::from(names.iter().any(|name| is_part(name)));
            if names.iter().any(|name| name == "store.copy") {
                break;
            }
        }
        process.kill(&mut Told::default());
        let names = names(folder.path());
        parts += usize::from(names.iter().any(|name| is_part(name)));
        let copy = path.with_extension("copy");
        if copy.exists() {
            let copied = SqliteStore::open(&copy).await.expect("a store");
            holds(&copied, &told).await.expect("it is whole");
        } else {
            store.back_up(&copy).await.expect("its name is free");
        }
    }
    assert!(parts > 0, "none was killed in the middle");
}

/// Runs a test of this binary again, where what it mounts is seen by nobody else and goes with it. False if it can't be.
fn alone(test: &str, script: &str) -> bool {
    let space = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec", script]);
        command
    };
    if !space("true")
        .output()
        .is_ok_and(|tried| tried.status.success())
    {
        eprintln!("skipped: this machine lets us mount nothing of our own");
        return false;
    }
    let (folder, _) = folder();
    let run = format!("{script}\nexec \"$TEST\" --exact sqlite_errors::{test} --nocapture");
    let done = space(&run)
        .env("TEST", std::env::current_exe().expect("this binary"))
        .env(INSIDE, folder.path())
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    true
}

const INSIDE: &str = "BACKSTAY_STORE_INSIDE";

/// STO-2: a disk without room is told, nothing that was acknowledged is lost, and it goes on when there is room.
#[tokio::test]
async fn a_full_disk_is_told() {
    let Some(place) = std::env::var_os(INSIDE).map(PathBuf::from) else {
        let script = format!("mount -t tmpfs -o size=2m tmpfs \"${INSIDE}\"");
        alone("a_full_disk_is_told", &script);
        return;
    };
    let filler = place.join("filler");
    fs::write(&filler, vec![0; 1_000_000]).expect("room");
    let path = place.join("store.db");
    let store = SqliteStore::open(&path).await.expect("a store");
    let load = Load { blob: 20_000 };
    let mut told = Told::default();
    let full = loop {
        let number = told.tried.len() as u64;
        told.tried.insert(number);
        match store.commit(load.batch(number)).await {
            Ok(commit) => told.acked.insert(number, commit.position.get()),
            Err(CommitError::Unavailable(full)) => break full,
            Err(other) => panic!("{other:?}"),
        };
    };
    assert_eq!(full.cause(), Cause::Full, "{full:?}");
    assert!(!told.acked.is_empty());
    holds(&store, &told).await.expect("nothing is lost");
    let refused = SqliteStore::open(place.join("other.db")).await;
    assert!(
        matches!(refused, Err(OpenError::Full { .. })),
        "{refused:?}"
    );
    fs::remove_file(&filler).expect("room");
    let last = told.tried.len() as u64 - 1;
    let commit = store.commit(load.batch(last)).await.expect("it goes on");
    told.acked.insert(last, commit.position.get());
    holds(&store, &told).await.expect("all is there");
}

/// STO-8: a copy for which there is no room leaves nothing, and can be made when there is room.
#[tokio::test]
async fn a_copy_without_room_leaves_nothing() {
    let Some(place) = std::env::var_os(INSIDE).map(PathBuf::from) else {
        let script = format!("mount -t tmpfs -o size=2m tmpfs \"${INSIDE}\"");
        alone("a_copy_without_room_leaves_nothing", &script);
        return;
    };
    let filler = place.join("filler");
    fs::write(&filler, vec![0; 1_500_000]).expect("room");
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a store");
    let mut told = Told::default();
    commit(&store, &mut told, 0..1).await;
    let value = Batch::new().put("large", vec![7; 1_000_000]);
    store.commit(value).await.expect("a commit");
    let copy = place.join("copy.db");
    let Err(BackUpError::Unavailable(full)) = store.back_up(&copy).await else {
        panic!("there was room");
    };
    assert_eq!(
        (full.cause(), full.effect()),
        (Cause::Full, Effect::NotExecuted)
    );
    assert_eq!(names(&place), ["filler"]);
    fs::remove_file(&filler).expect("room");
    store.back_up(&copy).await.expect("there is room");
    assert_eq!(names(&place), ["copy.db"]);
    let taken = store.back_up(&copy).await;
    assert!(matches!(taken, Err(BackUpError::Taken { .. })), "{taken:?}");
    assert_eq!(names(&place), ["copy.db"]);
    let copied = SqliteStore::open(&copy).await.expect("a store");
    assert_eq!(copied.check().await, Ok(Vec::new()));
    assert!(copied.get("large").await.expect("a read").is_some());
}

/// STO-2: a file that can't be written is refused, and so is a place for a new one.
#[tokio::test]
async fn a_read_only_file_is_told() {
    let Some(place) = std::env::var_os(INSIDE).map(PathBuf::from) else {
        let script = format!(
            "mount -t tmpfs tmpfs \"${INSIDE}\"; mkdir \"${INSIDE}/shut\"; touch \"${INSIDE}/file.db\""
        );
        alone("a_read_only_file_is_told", &script);
        return;
    };
    let shut = place.join("shut");
    closed(&shut.join("store.db"), 3).await;
    fs::copy(shut.join("store.db"), place.join("file.db")).expect("a copy");
    for path in [&shut, &place.join("file.db")] {
        for arguments in [&["--bind"][..], &["-o", "remount,ro,bind"]] {
            let mounted = Command::new("mount")
                .args(arguments)
                .args([path, path])
                .status();
            assert!(mounted.expect("mount").success());
        }
    }
    for path in [
        shut.join("store.db"),
        place.join("file.db"),
        shut.join("new.db"),
    ] {
        let refused = SqliteStore::open(&path).await;
        assert!(
            matches!(refused, Err(OpenError::ReadOnly { .. })),
            "{path:?}: {refused:?}"
        );
    }
}

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/schema-1.db");

/// What is in the fixture; see the page beside it.
async fn fill(store: &SqliteStore) {
    let first = Batch::new()
        .fenced(Fence::new("writer", 7))
        .append(
            "order-1",
            vec![
                Event::new("placed", "two lamps").metadata("by hand"),
                Event::new("paid", [0, 255, 1].to_vec()),
            ],
        )
        .put("orders/1", "paid")
        .put("orders/2", "gone");
    store.commit(first).await.expect("a commit");
    let second = Batch::new()
        .append("order-2", Event::new("placed", ""))
        .delete("orders/2", backstay_store::Expected::Any);
    store.commit(second).await.expect("a commit");
    let claim = store
        .claim(
            "leader",
            Owner::from_bytes([9; 16]),
            Duration::from_millis(1),
        )
        .await;
    assert!(claim.is_ok(), "{claim:?}");
}

/// STO-8: a file of schema version 1 is opened, read and written.
#[tokio::test]
async fn a_file_of_the_first_schema_is_read() {
    if std::env::var_os("BACKSTAY_WRITE_FIXTURE").is_some() {
        let (_folder, path) = folder();
        let store = SqliteStore::open(path).await.expect("a store");
        fill(&store).await;
        store.back_up(FIXTURE).await.expect("a fixture");
    }
    let (_folder, path) = folder();
    fs::copy(FIXTURE, &path).expect("the fixture");
    let store = SqliteStore::open(&path).await.expect("a store");
    assert_eq!(store.check().await, Ok(Vec::new()));
    assert_eq!(store.head().await, Ok(Position::new(6)));
    let events = store
        .read("order-1", Version::START, 10)
        .await
        .expect("a read");
    assert_eq!(
        (&events[0].kind[..], &events[0].data[..]),
        ("placed", &b"two lamps"[..])
    );
    assert_eq!(&events[0].metadata[..], b"by hand");
    assert_eq!(
        (&events[1].data[..], events[1].version),
        (&[0, 255, 1][..], Version::new(2))
    );
    let all = store.read_all(Position::START, 10).await.expect("a read");
    assert_eq!(all.len(), 3);
    let keys = store.list("orders/", "", 10).await.expect("a read");
    assert_eq!((keys.len(), &keys[0].value[..]), (1, &b"paid"[..]));
    let lower = Batch::new().fenced(Fence::new("writer", 6));
    let fenced = store.commit(lower).await;
    assert!(
        matches!(fenced, Err(CommitError::Fenced { highest: 7, .. })),
        "{fenced:?}"
    );
    let claim = store
        .claim("leader", Owner::from_bytes([8; 16]), Duration::from_secs(1))
        .await;
    assert_eq!(claim.expect("it has lapsed").epoch, 2);
    let next = store
        .commit(Batch::new().append("order-1", Event::new("sent", "")))
        .await;
    assert_eq!(
        next.expect("a commit").version("order-1"),
        Some(Version::new(3))
    );
}
