//! What is read, without waiting for those who write.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::failure::Failure;
use super::server::{Query, Server};
use super::value::{Unsigned, signed, uuid};
use crate::prefix::end_of;
use crate::{
    BatchId, Change, Claim, Commit, Entry, Owner, Position, Recorded, Unavailable, Version,
};

type Read<T> = Result<T, tokio_postgres::Error>;

pub(super) async fn head(server: &Server) -> Result<Position, Unavailable> {
    let sql = format!("SELECT head FROM {}.state", server.schema());
    first(server, Query::new(sql, []), |row| row.try_get(0))
        .await?
        .ok_or_else(|| Failure::NoState.into())
}

/// What tells the commits of batches, as far as the store still shows them.
pub(super) fn of_commits<'q>(s: &str, ids: &'q Vec<uuid::Uuid>) -> [Query<'q>; 3] {
    let of = |sql: String| Query::new(sql, [(ids as _, Type::UUID_ARRAY)]);
    // `OFFSET 0` has each commit's rows looked up by their index.
    [
        of(format!(
            "SELECT batch, last FROM {s}.commits WHERE batch = ANY($1)"
        )),
        of(format!(
            "SELECT c.batch, s.name, max(e.version) FROM {s}.commits c \
             CROSS JOIN LATERAL (SELECT stream, version FROM {s}.events \
             WHERE position BETWEEN c.first AND c.last OFFSET 0) e \
             JOIN {s}.streams s ON s.id = e.stream \
             WHERE c.batch = ANY($1) GROUP BY c.batch, s.name"
        )),
        of(format!(
            "SELECT c.batch, k.name, k.revision FROM {s}.commits c \
             CROSS JOIN LATERAL (SELECT name, revision FROM {s}.keys \
             WHERE revision BETWEEN c.first AND c.last AND value IS NOT NULL OFFSET 0) k \
             WHERE c.batch = ANY($1)"
        )),
    ]
}

/// The commits that the answers to [`of_commits`] tell.
pub(super) fn commits_in(answers: &[Vec<Row>]) -> Read<Vec<Commit>> {
    let [commits, versions, revisions] = answers else {
        return Ok(Vec::new());
    };
    let (mut versions, mut revisions) = (by_batch(versions)?, by_batch(revisions)?);
    let commits = commits.iter().map(|row| {
        let batch: uuid::Uuid = row.try_get(0)?;
        let id = BatchId::from_bytes(*batch.as_bytes());
        let versions = versions.remove(&batch).unwrap_or_default();
        let revisions = revisions.remove(&batch).unwrap_or_default();
        Ok(Commit::new(id, row.try_get(1)?, versions, revisions))
    });
    commits.collect()
}

fn by_batch<T>(rows: &[Row]) -> Read<HashMap<uuid::Uuid, BTreeMap<String, T>>>
where
    T: for<'r> FromSql<'r>,
{
    let mut found = HashMap::<_, BTreeMap<_, _>>::new();
    for row in rows {
        let names = found.entry(row.try_get(0)?).or_default();
        names.insert(row.try_get(1)?, row.try_get(2)?);
    }
    Ok(found)
}

pub(super) async fn commit(server: &Server, id: BatchId) -> Result<Option<Commit>, Unavailable> {
    let batches = vec![uuid(id)];
    let answers = server.read(&of_commits(&server.schema(), &batches)).await?;
    Ok(commits_in(&answers).map_err(Failure::Server)?.pop())
}

fn events(s: &str, rest: &str) -> String {
    format!(
        "SELECT e.position, s.name, e.version, e.kind, e.data, e.metadata, e.at \
         FROM {s}.events e JOIN {s}.streams s ON s.id = e.stream {rest}"
    )
}

pub(super) async fn stream(
    server: &Server,
    stream: &str,
    after: Version,
    limit: u32,
) -> Result<Vec<Recorded>, Unavailable> {
    let sql = events(
        &server.schema(),
        "WHERE s.name = $1 AND e.version > $2 ORDER BY e.version LIMIT $3",
    );
    let (after, limit) = (signed(after.get()), i64::from(limit));
    let params = [
        (&stream as _, Type::TEXT),
        (&after as _, Type::INT8),
        (&limit as _, Type::INT8),
    ];
    many(server, Query::new(sql, params), event).await
}

pub(super) async fn all(
    server: &Server,
    after: Position,
    limit: u32,
) -> Result<Vec<Recorded>, Unavailable> {
    let sql = events(
        &server.schema(),
        "WHERE e.position > $1 ORDER BY e.position LIMIT $2",
    );
    let (after, limit) = (signed(after.get()), i64::from(limit));
    let params = [(&after as _, Type::INT8), (&limit as _, Type::INT8)];
    many(server, Query::new(sql, params), event).await
}

fn event(row: &Row) -> Read<Recorded> {
    Ok(Recorded {
        position: row.try_get(0)?,
        stream: row.try_get(1)?,
        version: row.try_get(2)?,
        kind: row.try_get(3)?,
        data: bytes(row, 4)?,
        metadata: bytes(row, 5)?,
        at: row.try_get(6)?,
    })
}

fn bytes(row: &Row, column: usize) -> Read<Bytes> {
    row.try_get::<_, &[u8]>(column).map(Bytes::copy_from_slice)
}

pub(super) async fn get(server: &Server, key: &str) -> Result<Option<Entry>, Unavailable> {
    let (s, now) = (server.schema(), server.now(2));
    let sql = format!(
        "SELECT name, value, revision, expires_at FROM {s}.keys WHERE name = $1 \
         AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > {now})"
    );
    let time = server.least_time();
    let params = [(&key as _, Type::TEXT), (&time as _, Type::INT8)];
    first(server, Query::new(sql, params), entry).await
}

pub(super) async fn has_expired(server: &Server) -> Result<bool, Unavailable> {
    let (s, now) = (server.schema(), server.now(1));
    let sql = format!("SELECT EXISTS (SELECT FROM {s}.keys WHERE expires_at <= {now})");
    let time = server.least_time();
    let query = Query::new(sql, [(&time as _, Type::INT8)]);
    let found = first(server, query, |row| row.try_get(0)).await?;
    Ok(found.unwrap_or_default())
}

pub(super) async fn list(
    server: &Server,
    (prefix, after): (&str, &str),
    limit: u32,
) -> Result<Vec<Entry>, Unavailable> {
    let (s, now) = (server.schema(), server.now(4));
    let end = end_of(prefix);
    let until = if end.is_some() { "AND name < $5" } else { "" };
    let sql = format!(
        "SELECT name, value, revision, expires_at FROM {s}.keys \
         WHERE name >= $1 AND name > $2 {until} \
         AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > {now}) \
         ORDER BY name LIMIT $3"
    );
    let (limit, time) = (i64::from(limit), server.least_time());
    let mut params: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> = vec![
        (&prefix, Type::TEXT),
        (&after, Type::TEXT),
        (&limit, Type::INT8),
        (&time, Type::INT8),
    ];
    if let Some(end) = &end {
        params.push((end, Type::TEXT));
    }
    many(server, Query::new(sql, params), entry).await
}

fn entry(row: &Row) -> Read<Entry> {
    Ok(Entry {
        key: row.try_get(0)?,
        value: bytes(row, 1)?,
        revision: row.try_get(2)?,
        expires_at: row.try_get(3)?,
    })
}

pub(super) async fn changes(
    server: &Server,
    prefix: &str,
    after: Position,
    limit: u32,
) -> Result<Result<Vec<Change>, Position>, Unavailable> {
    let s = server.schema();
    let (from, limit) = (signed(after.get()), i64::from(limit));
    let changed = Query::new(
        format!(
            "SELECT name, value, revision FROM {s}.keys \
             WHERE revision > $1 AND starts_with(name, $2) ORDER BY revision LIMIT $3"
        ),
        [
            (&from as _, Type::INT8),
            (&prefix as _, Type::TEXT),
            (&limit as _, Type::INT8),
        ],
    );
    let forgotten = Query::new(format!("SELECT forgotten FROM {s}.state"), []);
    let answers = server.read(&[changed, forgotten]).await?;
    let (changed, forgotten) = match &answers[..] {
        [changed, forgotten] => (changed, forgotten.first()),
        _ => return Err(Failure::NoState.into()),
    };
    let told = || -> Result<_, Failure> {
        let forgotten: Position = forgotten.ok_or(Failure::NoState)?.try_get(0)?;
        if after < forgotten {
            return Ok(Err(forgotten));
        }
        Ok(Ok(changed.iter().map(change).collect::<Read<_>>()?))
    };
    Ok(told()?)
}

fn change(row: &Row) -> Read<Change> {
    Ok(Change {
        key: row.try_get(0)?,
        value: row
            .try_get::<_, Option<&[u8]>>(1)?
            .map(Bytes::copy_from_slice),
        revision: row.try_get(2)?,
    })
}

pub(super) async fn holder(server: &Server, name: &str) -> Result<Option<Claim>, Unavailable> {
    let (s, now) = (server.schema(), server.now(2));
    let sql = format!(
        "SELECT name, owner, epoch, expires_at FROM {s}.claims \
         WHERE name = $1 AND expires_at > {now}"
    );
    let time = server.least_time();
    let params = [(&name as _, Type::TEXT), (&time as _, Type::INT8)];
    first(server, Query::new(sql, params), claim).await
}

pub(super) fn claim(row: &Row) -> Read<Claim> {
    Ok(Claim {
        name: row.try_get(0)?,
        owner: Owner::from_bytes(*row.try_get::<_, uuid::Uuid>(1)?.as_bytes()),
        epoch: row.try_get::<_, Unsigned>(2)?.0,
        expires_at: row.try_get(3)?,
    })
}

async fn many<T>(
    server: &Server,
    query: Query<'_>,
    read: impl Fn(&Row) -> Read<T>,
) -> Result<Vec<T>, Unavailable> {
    let answers = server.read(&[query]).await?;
    let rows = answers.iter().flatten().map(read);
    Ok(rows.collect::<Read<_>>().map_err(Failure::Server)?)
}

async fn first<T>(
    server: &Server,
    query: Query<'_>,
    read: impl Fn(&Row) -> Read<T>,
) -> Result<Option<T>, Unavailable> {
    Ok(many(server, query, read).await?.pop())
}
