//! What is read for a group of writes, once the store's lock is held.

use futures_util::future::try_join;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::failure::Failure;
use super::ledger::{Key, Ledger, Needs, Stream};
use super::read;
use super::server::{Query, Server, ask_all};
use super::value::{Unsigned, uuid};
use crate::{Position, Timestamp};

/// Begins a transaction in which each statement sees all that was committed before it.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

impl Server {
    /// Waits until nobody else writes. The lock is held until the transaction ends.
    pub(super) fn lock(&self) -> String {
        format!(
            "SELECT FROM {}.state WHERE id = 1 FOR UPDATE",
            self.schema()
        )
    }

    /// The time and the head, once the lock is held; and by which transaction.
    pub(super) fn state<'q>(&self, time: &'q i64) -> Query<'q> {
        let (s, now) = (self.schema(), self.now(1));
        let sql = format!("SELECT {now}, head, txid_current() FROM {s}.state");
        Query::new(sql, [(time as _, Type::INT8)])
    }
}

/// What [`Server::state`] tells.
pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) head: Position,
    pub(super) transaction: i64,
}

impl State {
    pub(super) fn of(rows: &[Row]) -> Result<Self, Failure> {
        let row = rows.first().ok_or(Failure::NoState)?;
        Ok(Self {
            now: row.try_get(0)?,
            head: row.try_get(1)?,
            transaction: row.try_get(2)?,
        })
    }
}

/// Takes the lock after `first`, then reads what the group needs, all in one round trip.
pub(super) async fn load(
    server: &Server,
    client: &Client,
    first: &str,
    needs: &Needs,
) -> Result<(Ledger, i64), Failure> {
    let s = server.schema();
    let time = server.least_time();
    let commits: Vec<Uuid> = needs.commits.iter().copied().map(uuid).collect();
    let all = [&needs.streams, &needs.keys, &needs.fences, &needs.claims];
    let [streams, keys, fences, claims] =
        all.map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
    let lock = format!("{first}; {}; {}", server.settings(), server.lock());
    let queries = [
        server.state(&time),
        Query::new(
            format!("SELECT batch FROM {s}.commits WHERE batch = ANY($1)"),
            [(&commits as _, Type::UUID_ARRAY)],
        )
        .only_if(!commits.is_empty()),
        named(&s, ("id, version", "streams"), &streams),
        named(
            &s,
            ("value IS NOT NULL, revision, expires_at", "keys"),
            &keys,
        ),
        named(&s, ("token", "fences"), &fences),
        named(&s, ("owner, epoch, expires_at", "claims"), &claims),
    ];
    let asked = try_join(client.batch_execute(&lock), ask_all(client, &queries));
    let ((), answers) = server.within(asked).await?;
    let [state, found, streams, keys, fences, claims] = &answers[..] else {
        return Err(Failure::NoState);
    };
    let State {
        now,
        head,
        transaction,
    } = State::of(state)?;
    server.options.clock.saw(now);
    let mut ledger = Ledger {
        now,
        head,
        ..Ledger::default()
    };
    for row in streams {
        let stream = Stream {
            id: row.try_get(1)?,
            version: row.try_get(2)?,
        };
        ledger.streams.insert(row.try_get(0)?, stream);
    }
    for row in keys {
        let key = Key {
            has_value: row.try_get(1)?,
            revision: row.try_get(2)?,
            expires_at: row.try_get(3)?,
        };
        ledger.keys.insert(row.try_get(0)?, key);
    }
    for row in fences {
        let token = row.try_get::<_, Unsigned>(1)?.0;
        ledger.fences.insert(row.try_get(0)?, token);
    }
    for row in claims {
        let claim = read::claim(row)?;
        ledger.claims.insert(claim.name.clone(), claim);
    }
    if !found.is_empty() {
        let found = found.iter().map(|row| row.try_get(0));
        let found = found.collect::<Result<Vec<Uuid>, _>>()?;
        let queries = read::of_commits(&s, &found);
        let answers = server.within(ask_all(client, &queries)).await?;
        let commits = read::commits_in(&answers)?.into_iter();
        ledger.commits = commits.map(|commit| (commit.id, commit)).collect();
    }
    Ok((ledger, transaction))
}

fn named<'q>(
    s: &str,
    (columns, table): (&str, &str),
    names: &'q (impl ToSql + Sync + AsRef<[&'q str]>),
) -> Query<'q> {
    let sql = format!("SELECT name, {columns} FROM {s}.{table} WHERE name = ANY($1)");
    Query::new(sql, [(names as _, Type::TEXT_ARRAY)]).only_if(!names.as_ref().is_empty())
}
