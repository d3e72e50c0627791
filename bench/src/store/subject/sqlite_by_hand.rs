//! The same rows through rusqlite, as an application would write them that needs nothing else.
//!
//! The settings are the store's: write-ahead log, `synchronous = FULL`, checkpoints as seldom. Statements are prepared
//! once. There are no savepoints, no look whether a batch is there already, and no answer but success.

use std::iter::once;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Result, anyhow};
use backstay::store::SqliteStore;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{Mutex, oneshot};
use uuid::Uuid;

use super::{DATA, KIND, runtime, streams};
use crate::clock;
use crate::store::Ground;
use crate::store::load::{self, Sample, Window};

/// As many commits share a transaction at most, as in the store.
const BATCH: usize = 512;

/// As in the store.
const CHECKPOINT_PAGES: u32 = 4_000;

const STATE: &str = "SELECT head FROM backstay_state";
const STREAM: &str = "SELECT id, version FROM backstay_streams WHERE name = ?1";
const NEW_STREAM: &str = "INSERT INTO backstay_streams (name, version) VALUES (?1, 1)";
const LONGER_STREAM: &str = "UPDATE backstay_streams SET version = ?2 WHERE id = ?1";
const EVENT: &str = "INSERT INTO backstay_events (position, stream, version, kind, data, metadata, at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const COMMIT: &str = "INSERT INTO backstay_commits (batch, first, last) VALUES (?1, ?2, ?2)";
const NEW_STATE: &str = "UPDATE backstay_state SET head = ?1, clock = max(clock, ?2)";

/// An event for a stream.
struct Placed {
    batch: Uuid,
    stream: String,
    data: &'static [u8],
}

impl Placed {
    fn in_stream(stream: &str) -> Self {
        Self {
            batch: Uuid::now_v7(),
            stream: stream.to_owned(),
            data: DATA,
        }
    }
}

/// Threads that take turns at one connection.
pub(super) fn visit_alone(ground: &Ground, committers: usize, window: Window) -> Result<Sample> {
    let folder = tempfile::tempdir_in(ground.folder.path())?;
    // It is handed on in turn. A lock of the standard library would stay with one thread, and the others starve.
    let connection = Mutex::new(open(folder.path())?);
    let streams = streams(committers);
    load::threads(committers, window, |number| {
        let placed = Placed::in_stream(&streams[number]);
        write(&mut connection.blocking_lock(), &[&placed])
    })
}

/// Tasks that ask one thread, which writes for all who wait.
pub(super) fn visit_batched(ground: &Ground, committers: usize, window: Window) -> Result<Sample> {
    let folder = tempfile::tempdir_in(ground.folder.path())?;
    let connection = open(folder.path())?;
    let (jobs, waiting) = mpsc::channel();
    let writer = thread::spawn(move || write_all(connection, &waiting));
    let streams = streams(committers);
    let commit = move |number: usize| {
        let placed = Placed::in_stream(&streams[number]);
        let (reply, answer) = oneshot::channel();
        let asked = jobs.send((placed, reply));
        async move {
            asked.map_err(|_| anyhow!("the writer has ended"))?;
            Ok(answer.await?)
        }
    };
    let sample = runtime()?.block_on(load::tasks(committers, window, commit));
    writer
        .join()
        .map_err(|_| anyhow!("the writer panicked"))
        .flatten()?;
    sample
}

type Job = (Placed, oneshot::Sender<()>);

fn write_all(mut connection: Connection, waiting: &Receiver<Job>) -> Result<()> {
    while let Ok(first) = waiting.recv() {
        let rest = waiting.try_iter().take(BATCH - 1);
        let (placed, replies): (Vec<_>, Vec<_>) = once(first).chain(rest).unzip();
        write(&mut connection, &placed.iter().collect::<Vec<_>>())?;
        for reply in replies {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }
    Ok(())
}

/// A connection to tables that the store has made.
fn open(folder: &Path) -> Result<Connection> {
    let path = folder.join("by-hand.db");
    drop(runtime()?.block_on(SqliteStore::open(&path))?);
    let connection = Connection::open(&path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(connection)
}

/// Writes the rows of some commits in one transaction.
fn write(connection: &mut Connection, commits: &[&Placed]) -> Result<()> {
    let now = clock::unix_millis();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let prepare = |sql| transaction.prepare_cached(sql);
        let mut position: i64 = prepare(STATE)?.query_row([], |row| row.get(0))?;
        let (mut stream, mut new, mut longer) = (
            prepare(STREAM)?,
            prepare(NEW_STREAM)?,
            prepare(LONGER_STREAM)?,
        );
        let (mut event, mut commit) = (prepare(EVENT)?, prepare(COMMIT)?);
        for placed in commits {
            position += 1;
            let known: Option<(i64, i64)> = stream
                .query_row([&placed.stream], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let (id, version) = if let Some((id, version)) = known {
                longer.execute([id, version + 1])?;
                (id, version + 1)
            } else {
                (new.insert([&placed.stream])?, 1)
            };
            let none = [0_u8; 0];
            event.execute(params![position, id, version, KIND, placed.data, none, now])?;
            commit.execute(params![placed.batch.as_bytes(), position])?;
        }
        prepare(NEW_STATE)?.execute([position, now])?;
    }
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use backstay::store::{BatchId, Position, Version};

    use super::*;

    /// What is written by hand is what the store would have written: it reads it.
    #[test]
    fn the_store_reads_what_is_written_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = open(folder.path()).unwrap();
        let [one, two] = ["one", "two"].map(Placed::in_stream);
        write(&mut connection, &[&one, &two]).unwrap();
        let again = Placed::in_stream("one");
        write(&mut connection, &[&again]).unwrap();
        runtime().unwrap().block_on(async {
            let store = SqliteStore::open(folder.path().join("by-hand.db"))
                .await
                .unwrap();
            assert_eq!(store.head().await.unwrap(), Position::new(3));
            let events = store.read("one", Version::START, 10).await.unwrap();
            let positions: Vec<_> = events.iter().map(|event| event.position.get()).collect();
            assert_eq!(positions, [1, 3]);
            let id = BatchId::from_bytes(again.batch.into_bytes());
            let commit = store.find(id).await.unwrap().unwrap();
            assert_eq!(commit.version("one"), Some(Version::new(2)));
        });
    }
}
