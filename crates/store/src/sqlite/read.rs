//! What is read, on connections that never wait for a write.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use backstay_core::Effect;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Semaphore;

use super::open::{self, told};
use super::{OpenError, SqliteOptions, blocking};
use crate::clock::Clock;
use crate::prefix::end_of;
use crate::{
    BatchId, Cause, Change, Claim, Commit, Entry, Owner, Position, Recorded, Unavailable, Version,
};

/// A fixed number of connections that read.
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Readers {
    pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Self, OpenError> {
        let connections = (0..options.readers).map(|_| open::reader(path, options));
        let idle: Vec<_> = connections.collect::<Result<_, _>>()?;
        Ok(Self {
            places: Arc::new(Semaphore::new(idle.len())),
            idle: Arc::new(Mutex::new(idle)),
        })
    }

    /// Asks a connection as soon as one is idle. Dropping the future does not stop what it asked.
    pub(super) fn ask<T, Q>(
        &self,
        question: Q,
    ) -> impl Future<Output = Result<T, Unavailable>> + Send + use<T, Q>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, Unavailable> + Send + 'static,
    {
        let (idle, places) = (self.idle.clone(), self.places.clone());
        let closed = || Unavailable::new(Cause::Closed, Effect::NotExecuted);
        async move {
            let place = places.acquire_owned().await.map_err(|_| closed())?;
            let answer = blocking(move || {
                let connection = lock(&idle).pop().ok_or_else(closed)?;
                let answer = question(&connection);
                lock(&idle).push(connection);
                drop(place);
                answer
            });
            answer.await.unwrap_or_else(|| Err(closed()))
        }
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> std::sync::MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn head(connection: &Connection) -> Result<Position, Unavailable> {
    connection
        .prepare_cached("SELECT head FROM backstay_state")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(told)
}

/// The commit of a batch, as far as the store still shows it.
pub(super) fn commit(connection: &Connection, id: BatchId) -> Result<Option<Commit>, Unavailable> {
    let read = || -> rusqlite::Result<_> {
        let Some((first, last)) = connection
            .prepare_cached("SELECT first, last FROM backstay_commits WHERE batch = ?1")?
            .query_row([id.as_bytes()], |row| {
                Ok((row.get::<_, Position>(0)?, row.get::<_, Position>(1)?))
            })
            .optional()?
        else {
            return Ok(None);
        };
        let versions = connection
            .prepare_cached(
                "SELECT s.name, max(e.version) FROM backstay_events e \
                 JOIN backstay_streams s ON s.id = e.stream \
                 WHERE e.position BETWEEN ?1 AND ?2 GROUP BY s.name",
            )?
            .query_map([first, last], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let revisions = connection
            .prepare_cached(
                "SELECT name, revision FROM backstay_keys \
                 WHERE revision BETWEEN ?1 AND ?2 AND value IS NOT NULL",
            )?
            .query_map([first, last], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(Some(Commit::new(id, last, versions, revisions)))
    };
    read().map_err(told)
}

const EVENT: &str = "SELECT e.position, s.name, e.version, e.kind, e.data, e.metadata, e.at \
                     FROM backstay_events e JOIN backstay_streams s ON s.id = e.stream";

pub(super) fn stream(
    connection: &Connection,
    stream: &str,
    after: Version,
    limit: u32,
) -> Result<Vec<Recorded>, Unavailable> {
    let sql = format!("{EVENT} WHERE s.name = ?1 AND e.version > ?2 ORDER BY e.version LIMIT ?3");
    many(connection, &sql, params![stream, after, limit], event)
}

pub(super) fn all(
    connection: &Connection,
    after: Position,
    limit: u32,
) -> Result<Vec<Recorded>, Unavailable> {
    let sql = format!("{EVENT} WHERE e.position > ?1 ORDER BY e.position LIMIT ?2");
    many(connection, &sql, params![after, limit], event)
}

fn event(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    Ok(Recorded {
        position: row.get(0)?,
        stream: row.get(1)?,
        version: row.get(2)?,
        kind: row.get(3)?,
        data: bytes(row, 4)?,
        metadata: bytes(row, 5)?,
        at: row.get(6)?,
    })
}

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(column).map(Bytes::from)
}

/// The store's clock never goes back, also where the machine's does.
const THERE: &str = "value IS NOT NULL AND (expires_at IS NULL OR \
                     expires_at > max(?2, (SELECT clock FROM backstay_state)))";

pub(super) fn get(
    connection: &Connection,
    key: &str,
    clock: &Clock,
) -> Result<Option<Entry>, Unavailable> {
    let sql = format!(
        "SELECT name, value, revision, expires_at FROM backstay_keys WHERE name = ?1 AND {THERE}"
    );
    connection
        .prepare_cached(&sql)
        .and_then(|mut statement| {
            statement
                .query_row(params![key, clock.now()], entry)
                .optional()
        })
        .map_err(told)
}

pub(super) fn has_expired(connection: &Connection, clock: &Clock) -> Result<bool, Unavailable> {
    let sql = "SELECT EXISTS (SELECT 1 FROM backstay_keys \
               WHERE expires_at <= max(?1, (SELECT clock FROM backstay_state)))";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([clock.now()], |row| row.get(0)))
        .map_err(told)
}

pub(super) fn list(
    connection: &Connection,
    (prefix, after): (&str, &str),
    limit: u32,
    clock: &Clock,
) -> Result<Vec<Entry>, Unavailable> {
    let end = end_of(prefix);
    // Without an end the database would read what follows to the last key.
    let until = if end.is_some() { "AND name < ?5" } else { "" };
    let sql = format!(
        "SELECT name, value, revision, expires_at FROM backstay_keys \
         WHERE name >= ?1 AND name > ?3 {until} AND {THERE} ORDER BY name LIMIT ?4"
    );
    let now = clock.now();
    if let Some(end) = end {
        many(
            connection,
            &sql,
            params![prefix, now, after, limit, end],
            entry,
        )
    } else {
        many(connection, &sql, params![prefix, now, after, limit], entry)
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        key: row.get(0)?,
        value: bytes(row, 1)?,
        revision: row.get(2)?,
        expires_at: row.get(3)?,
    })
}

pub(super) fn changes(
    connection: &Connection,
    prefix: &str,
    after: Position,
    limit: u32,
) -> Result<Result<Vec<Change>, Position>, Unavailable> {
    // First what changed: what is forgotten meanwhile was still there to be read.
    let changes = many(
        connection,
        "SELECT name, value, revision FROM backstay_keys \
         WHERE revision > ?1 AND substr(name, 1, length(?2)) = ?2 ORDER BY revision LIMIT ?3",
        params![after, prefix, limit],
        |row| {
            Ok(Change {
                key: row.get(0)?,
                value: row.get::<_, Option<Vec<u8>>>(1)?.map(Bytes::from),
                revision: row.get(2)?,
            })
        },
    )?;
    let forgotten: Position = connection
        .prepare_cached("SELECT forgotten FROM backstay_state")
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(told)?;
    Ok(if after < forgotten {
        Err(forgotten)
    } else {
        Ok(changes)
    })
}

pub(super) fn holder(
    connection: &Connection,
    name: &str,
    clock: &Clock,
) -> Result<Option<Claim>, Unavailable> {
    connection
        .prepare_cached(
            "SELECT name, owner, epoch, expires_at FROM backstay_claims WHERE name = ?1 \
             AND expires_at > max(?2, (SELECT clock FROM backstay_state))",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![name, clock.now()], claim)
                .optional()
        })
        .map_err(told)
}

/// Of a row with its name, owner, epoch and end.
pub(super) fn claim(row: &Row<'_>) -> rusqlite::Result<Claim> {
    Ok(Claim {
        name: row.get(0)?,
        owner: Owner::from_bytes(row.get(1)?),
        epoch: row.get::<_, i64>(2)?.unsigned_abs(),
        expires_at: row.get(3)?,
    })
}

pub(super) fn many<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Unavailable> {
    let mut statement = connection.prepare_cached(sql).map_err(told)?;
    let rows = statement.query_map(params, read).map_err(told)?;
    rows.collect::<Result<_, _>>().map_err(told)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    /// What a list costs does not grow with the keys that come after its prefix.
    #[test]
    fn a_list_reads_no_further_than_its_prefix() -> rusqlite::Result<()> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(include_str!("schema.sql"))?;
        connection.execute_batch(
            "INSERT INTO backstay_keys SELECT 'k/' || value, x'76', value, NULL, 0 \
             FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n) \
             SELECT value FROM n LIMIT 10000)",
        )?;
        let steps = Arc::new(AtomicU64::new(0));
        let counted = steps.clone();
        connection.progress_handler(
            1,
            Some(move || {
                counted.fetch_add(1, Relaxed);
                false
            }),
        )?;
        for (prefix, due) in [("a", 0), ("k/10", 112), ("z", 0)] {
            let listed = list(&connection, (prefix, ""), 10_000, &Clock::default());
            assert_eq!(listed.map(|listed| listed.len()), Ok(due), "{prefix}");
        }
        let steps = steps.load(Relaxed);
        assert!(steps < 10_000, "{steps}");
        Ok(())
    }
}
