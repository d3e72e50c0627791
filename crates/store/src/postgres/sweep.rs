//! How what has expired or is old goes.

use deadpool_postgres::Pool;
use futures_util::future::try_join;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::failure::Failure;
use super::group::{BEGIN, State};
use super::server::{ATTEMPTS, Query, Server, ask_all};
use super::value::signed;
use crate::{Position, Unavailable};

/// As many rows of each kind are taken away in one transaction, so that others come in between.
pub(super) const AT_ONCE: i64 = 1_000;

/// Takes expired keys away, and forgets deletions and commits that are old. Returns how many keys have expired, and the
/// head if that changed.
pub(super) async fn sweep(server: &Server) -> Result<(u64, Option<Position>), Unavailable> {
    let (mut expired, mut head, mut left) = (0, None, ATTEMPTS);
    loop {
        match round(server, &server.pool, AT_ONCE).await {
            Ok(round) => {
                expired += round.expired;
                head = round.head.or(head);
                left = ATTEMPTS;
                if !round.has_more {
                    return Ok((expired, head));
                }
            }
            Err(failure) => {
                left -= 1;
                if left == 0 || !failure.is_passing() {
                    return Err(failure.told(backstay_core::Effect::Unknown));
                }
            }
        }
    }
}

/// What one transaction has swept.
pub(super) struct Round {
    expired: u64,
    /// If it changed.
    pub(super) head: Option<Position>,
    /// It stopped at its bound.
    pub(super) has_more: bool,
}

/// Sweeps so many rows of each kind at most.
pub(super) async fn round(server: &Server, pool: &Pool, at_once: i64) -> Result<Round, Failure> {
    let s = server.schema();
    let session = server.lend(pool).await?;
    let client = session.client();
    let time = server.least_time();
    let begin = format!("{BEGIN}; {}; {}", server.settings(), server.lock());
    let state = [server.state(&time)];
    let asked = try_join(client.batch_execute(&begin), ask_all(client, &state));
    let ((), answers) = server.within(asked).await?;
    let State { now, head, .. } = State::of(answers.first().map_or(&[], Vec::as_slice))?;

    let before = now.minus(server.options.remember);
    // The first six bytes of a batch's id are the time at which it was made, by a clock that may have been set since.
    let made_before = before.min(server.options.clock.here().minus(server.options.remember));
    let mut oldest = [0; 16];
    oldest[..6].copy_from_slice(&made_before.as_millis().to_be_bytes()[2..]);
    let oldest = Uuid::from_bytes(oldest);
    let (now, before) = (signed(now.as_millis()), signed(before.as_millis()));
    let from = signed(head.get());
    let statements = [
        Query::new(
            format!(
                "WITH due AS (SELECT name, expires_at FROM {s}.keys WHERE expires_at <= $1 \
                 ORDER BY expires_at LIMIT $3), \
                 expired AS (SELECT name, $2 + row_number() OVER (ORDER BY expires_at, name) \
                 AS revision FROM due), \
                 gone AS (UPDATE {s}.keys k SET value = NULL, expires_at = NULL, changed_at = $1, \
                 revision = e.revision FROM expired e WHERE k.name = e.name RETURNING k.revision) \
                 SELECT count(*), max(revision) FROM gone"
            ),
            [
                (&now as _, Type::INT8),
                (&from as _, Type::INT8),
                (&at_once as _, Type::INT8),
            ],
        ),
        Query::new(
            format!(
                "WITH gone AS (DELETE FROM {s}.keys WHERE name IN (SELECT name FROM {s}.keys \
                 WHERE value IS NULL AND changed_at < $1 LIMIT $2) RETURNING revision), \
                 kept AS (UPDATE {s}.state SET forgotten = \
                 greatest(forgotten, (SELECT max(revision) FROM gone)) \
                 WHERE EXISTS (SELECT FROM gone)) SELECT count(*) FROM gone"
            ),
            [(&before as _, Type::INT8), (&at_once as _, Type::INT8)],
        ),
        Query::new(
            format!(
                "WITH gone AS (DELETE FROM {s}.commits WHERE batch IN (SELECT batch \
                 FROM {s}.commits WHERE batch < $1 LIMIT $2) RETURNING batch) \
                 SELECT count(*) FROM gone"
            ),
            [(&oldest as _, Type::UUID), (&at_once as _, Type::INT8)],
        ),
    ];
    let answers = server.within(ask_all(client, &statements)).await?;
    let counts = answers.iter().flatten().map(|row| row.try_get::<_, i64>(0));
    let counts = counts.collect::<Result<Vec<_>, _>>()?;
    let last = answers.iter().flatten().next();
    let last = last
        .map(|row| row.try_get::<_, Option<i64>>(1))
        .transpose()?
        .flatten();
    let state = last.map(|head| (head, now));
    let state: Vec<_> = state
        .iter()
        .map(|(head, now)| {
            let sql = format!("UPDATE {s}.state SET head = $1, clock = $2");
            Query::new(sql, [(head as _, Type::INT8), (now as _, Type::INT8)])
        })
        .collect();
    let written = try_join(ask_all(client, &state), client.batch_execute("COMMIT"));
    server.within(written).await?;
    session.keep();
    Ok(Round {
        expired: counts.first().copied().unwrap_or_default().unsigned_abs(),
        head: last.map(|head| Position::new(head.unsigned_abs())),
        has_more: counts.contains(&at_once),
    })
}
