//! How what a group has changed is written: one statement a table.

use futures_util::future::try_join;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::failure::Failure;
use super::ledger::{Changes, Ledger};
use super::server::{Query, Server, ask_all};
use super::value::{signed, uuid};

/// Writes what a group has changed, then `last`, all in one round trip.
pub(super) async fn write(
    server: &Server,
    client: &Client,
    ledger: &Ledger,
    last: &str,
) -> Result<(), Failure> {
    let (s, changes) = (server.schema(), &ledger.changes);
    let now = signed(ledger.now.as_millis());
    let mut rows = vec![state(&s, ledger, now)];
    if !changes.streams.is_empty() {
        rows.push(streams(&s, changes));
    }
    if !changes.events.is_empty() {
        rows.push(events(&s, changes, now));
    }
    if !changes.keys.is_empty() {
        rows.push(keys(&s, changes, now));
    }
    if !changes.commits.is_empty() {
        rows.push(commits(&s, changes));
    }
    if !changes.fences.is_empty() {
        rows.push(fences(&s, changes));
    }
    if !changes.claims.is_empty() {
        rows.push(claims(&s, changes));
    }
    let statements: Vec<_> = rows.iter().map(Rows::statement).collect();
    let written = try_join(ask_all(client, &statements), client.batch_execute(last));
    server.within(written).await.map(|_| ())
}

/// Rows of one table, column by column, and the statement that takes them.
struct Rows<'l> {
    sql: String,
    columns: Vec<Column<'l>>,
}

type Column<'l> = (Box<dyn ToSql + Sync + Send + 'l>, Type);

impl Rows<'_> {
    fn statement(&self) -> Query<'_> {
        let columns = self.columns.iter();
        let params = columns.map(|(values, of)| (&**values as &(dyn ToSql + Sync), of.clone()));
        Query::new(self.sql.clone(), params)
    }
}

fn column<'l, T>(of: Type, values: impl Iterator<Item = T>) -> Column<'l>
where
    T: ToSql + Sync + Send + 'l,
{
    (Box::new(values.collect::<Vec<T>>()), of)
}

fn number(number: i64) -> Column<'static> {
    (Box::new(number), Type::INT8)
}

fn numbers<'l>(numbers: impl Iterator<Item = u64>) -> Column<'l> {
    column(Type::INT8_ARRAY, numbers.map(signed))
}

fn texts<'l>(texts: impl Iterator<Item = &'l String>) -> Column<'l> {
    column(Type::TEXT_ARRAY, texts.map(String::as_str))
}

fn state(s: &str, ledger: &Ledger, now: i64) -> Rows<'static> {
    Rows {
        sql: format!("UPDATE {s}.state SET head = $1, clock = $2"),
        columns: vec![number(signed(ledger.head.get())), number(now)],
    }
}

fn streams<'l>(s: &str, changes: &'l Changes) -> Rows<'l> {
    let streams = &changes.streams;
    Rows {
        sql: format!(
            "INSERT INTO {s}.streams (id, name, version) \
             SELECT * FROM unnest($1::int8[], $2::text[], $3::int8[]) \
             ON CONFLICT (name) DO UPDATE SET version = excluded.version"
        ),
        columns: vec![
            numbers(streams.values().map(|stream| stream.id.get())),
            texts(streams.keys()),
            numbers(streams.values().map(|stream| stream.version.get())),
        ],
    }
}

fn events<'l>(s: &str, changes: &'l Changes, now: i64) -> Rows<'l> {
    let new = || changes.events.iter();
    Rows {
        sql: format!(
            "INSERT INTO {s}.events (position, stream, version, kind, data, metadata, at) \
             SELECT *, $7::int8 FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::text[], \
             $5::bytea[], $6::bytea[])"
        ),
        columns: vec![
            numbers(new().map(|new| new.position.get())),
            numbers(new().map(|new| new.stream.get())),
            numbers(new().map(|new| new.version.get())),
            texts(new().map(|new| &new.event.kind)),
            column(Type::BYTEA_ARRAY, new().map(|new| &new.event.data[..])),
            column(Type::BYTEA_ARRAY, new().map(|new| &new.event.metadata[..])),
            number(now),
        ],
    }
}

fn keys<'l>(s: &str, changes: &'l Changes, now: i64) -> Rows<'l> {
    let keys = || changes.keys.values();
    let expiries = keys().map(|(key, _)| key.expires_at.map(|at| signed(at.as_millis())));
    Rows {
        sql: format!(
            "INSERT INTO {s}.keys (name, value, revision, expires_at, changed_at) \
             SELECT *, $5::int8 FROM unnest($1::text[], $2::bytea[], $3::int8[], $4::int8[]) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value, \
             revision = excluded.revision, expires_at = excluded.expires_at, \
             changed_at = excluded.changed_at"
        ),
        columns: vec![
            texts(changes.keys.keys()),
            column(Type::BYTEA_ARRAY, keys().map(|(_, value)| value.as_deref())),
            numbers(keys().map(|(key, _)| key.revision.get())),
            column(Type::INT8_ARRAY, expiries),
            number(now),
        ],
    }
}

fn commits<'l>(s: &str, changes: &'l Changes) -> Rows<'l> {
    let commits = || changes.commits.iter();
    Rows {
        sql: format!(
            "INSERT INTO {s}.commits (batch, first, last) \
             SELECT * FROM unnest($1::uuid[], $2::int8[], $3::int8[])"
        ),
        columns: vec![
            column(Type::UUID_ARRAY, commits().map(|(id, ..)| uuid(*id))),
            numbers(commits().map(|(_, first, _)| first.get())),
            numbers(commits().map(|(_, _, last)| last.get())),
        ],
    }
}

fn fences<'l>(s: &str, changes: &'l Changes) -> Rows<'l> {
    Rows {
        sql: format!(
            "INSERT INTO {s}.fences (name, token) SELECT * FROM unnest($1::text[], $2::int8[]) \
             ON CONFLICT (name) DO UPDATE SET token = excluded.token"
        ),
        columns: vec![
            texts(changes.fences.keys()),
            numbers(changes.fences.values().copied()),
        ],
    }
}

fn claims<'l>(s: &str, changes: &'l Changes) -> Rows<'l> {
    let claims = || changes.claims.values();
    let owners = claims().map(|claim| Uuid::from_bytes(*claim.owner.as_bytes()));
    Rows {
        sql: format!(
            "INSERT INTO {s}.claims (name, owner, epoch, expires_at) \
             SELECT * FROM unnest($1::text[], $2::uuid[], $3::int8[], $4::int8[]) \
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, \
             expires_at = excluded.expires_at"
        ),
        columns: vec![
            texts(changes.claims.keys()),
            column(Type::UUID_ARRAY, owners),
            numbers(claims().map(|claim| claim.epoch)),
            numbers(claims().map(|claim| claim.expires_at.as_millis())),
        ],
    }
}
