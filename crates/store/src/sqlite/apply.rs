//! What each kind of write does inside the transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::params;

use super::read;
use super::writer::Group;
use crate::batch::Change;
use crate::claim::{fence_name, next_epoch};
use crate::{
    Append, Batch, Claim, ClaimError, Commit, CommitError, Conflict, Expected, Fence, Owner,
    Position, Put, Timestamp, Unavailable, Version,
};

/// As many of each kind are swept in one transaction.
const SWEPT_AT_ONCE: u32 = 1_000;

/// Applies a batch, or finds that it was applied before.
pub(super) fn commit(group: &mut Group<'_>, batch: &Batch) -> Result<Commit, CommitError> {
    match read::commit(group.transaction, batch.id)? {
        Some(commit) => Ok(commit),
        None => apply(group, batch),
    }
}

/// Applies a batch that was not applied before.
pub(super) fn apply(group: &mut Group<'_>, batch: &Batch) -> Result<Commit, CommitError> {
    if let Some(fence) = &batch.fence {
        pass(group, fence)?;
    }
    let first = group.head.next();
    let (mut versions, mut revisions) = (BTreeMap::new(), BTreeMap::new());
    for change in &batch.changes {
        match change {
            Change::Append {
                stream,
                append: new,
            } => {
                versions.insert(stream.clone(), append(group, stream, new)?);
            }
            Change::Put { key, put: new } => {
                revisions.insert(key.clone(), put(group, key, new)?);
            }
            Change::Delete { key, expected } => {
                delete(group, key, *expected)?;
                revisions.remove(key);
            }
            Change::Expect { key, expected } => {
                expect_key(group, key, *expected)?;
            }
        }
    }
    group.run(
        "INSERT INTO backstay_commits (batch, first, last) VALUES (?1, ?2, ?3)",
        params![batch.id.as_bytes(), first, group.head],
    )?;
    Ok(Commit::new(batch.id, group.head, versions, revisions))
}

fn pass(group: &Group<'_>, fence: &Fence) -> Result<(), CommitError> {
    let highest = highest(group, &fence.name)?;
    if fence.token < highest {
        return Err(CommitError::Fenced {
            name: fence.name.clone(),
            token: fence.token,
            highest,
        });
    }
    if fence.token > highest {
        raise(group, &fence.name, fence.token)?;
    }
    Ok(())
}

/// The highest token of a fence, 0 where none was seen.
fn highest(group: &Group<'_>, fence: &str) -> Result<u64, Unavailable> {
    let token = group.row(
        "SELECT token FROM backstay_fences WHERE name = ?1",
        [fence],
        |row| row.get::<_, i64>(0),
    )?;
    Ok(token.map_or(0, i64::unsigned_abs))
}

fn raise(group: &Group<'_>, fence: &str, token: u64) -> Result<(), Unavailable> {
    group.run(
        "INSERT INTO backstay_fences (name, token) VALUES (?1, ?2) \
         ON CONFLICT (name) DO UPDATE SET token = excluded.token",
        // It was checked against the largest that SQLite has.
        params![fence, token.cast_signed()],
    )?;
    Ok(())
}

fn append(group: &mut Group<'_>, stream: &str, new: &Append) -> Result<Version, CommitError> {
    let known = group.row(
        "SELECT id, version FROM backstay_streams WHERE name = ?1",
        [stream],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Version>(1)?)),
    )?;
    let before = known.map_or(Version::START, |(_, version)| version);
    Conflict::with_stream(stream, new.expected, before).map_err(CommitError::Conflict)?;
    let after = Version::new(before.get() + new.events.len() as u64);
    let id = if let Some((id, _)) = known {
        group.run(
            "UPDATE backstay_streams SET version = ?2 WHERE id = ?1",
            params![id, after],
        )?;
        id
    } else {
        group.run(
            "INSERT INTO backstay_streams (name, version) VALUES (?1, ?2)",
            params![stream, after],
        )?;
        group.transaction.last_insert_rowid()
    };
    let mut version = before;
    for event in &new.events {
        version = version.next();
        let position = group.advance();
        group.bytes += event.data.len() + event.metadata.len();
        group.run(
            "INSERT INTO backstay_events (position, stream, version, kind, data, metadata, at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                position,
                id,
                version,
                event.kind,
                &event.data[..],
                &event.metadata[..],
                group.now
            ],
        )?;
    }
    Ok(after)
}

fn put(group: &mut Group<'_>, key: &str, new: &Put) -> Result<Position, CommitError> {
    expect_key(group, key, new.expected)?;
    let expires_at = new.expires_after.map(|after| group.now.plus(after));
    Ok(change(group, key, Some(&new.value), expires_at)?)
}

fn delete(
    group: &mut Group<'_>,
    key: &str,
    expected: Expected<Position>,
) -> Result<(), CommitError> {
    if expect_key(group, key, expected)?.is_some() {
        change(group, key, None, None)?;
    }
    Ok(())
}

/// The revision of a key that is there, if that is as expected.
fn expect_key(
    group: &Group<'_>,
    key: &str,
    expected: Expected<Position>,
) -> Result<Option<Position>, CommitError> {
    let revision = group.row(
        "SELECT revision FROM backstay_keys WHERE name = ?1 AND value IS NOT NULL \
         AND (expires_at IS NULL OR expires_at > ?2)",
        params![key, group.now],
        |row| row.get(0),
    )?;
    Conflict::with_key(key, expected, revision).map_err(CommitError::Conflict)?;
    Ok(revision)
}

fn change(
    group: &mut Group<'_>,
    key: &str,
    value: Option<&Bytes>,
    expires_at: Option<Timestamp>,
) -> Result<Position, Unavailable> {
    let revision = group.advance();
    group.bytes += value.map_or(0, Bytes::len);
    group.run(
        "INSERT INTO backstay_keys (name, value, revision, expires_at, changed_at) \
         VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, revision = excluded.revision, \
         expires_at = excluded.expires_at, changed_at = excluded.changed_at",
        params![
            key,
            value.map(|value| &value[..]),
            revision,
            expires_at,
            group.now
        ],
    )?;
    Ok(revision)
}

/// Takes a name that nobody holds, and raises its fence.
pub(super) fn claim(
    group: &mut Group<'_>,
    name: &str,
    owner: Owner,
    ttl: Duration,
) -> Result<Claim, ClaimError> {
    let last = group.row(
        "SELECT name, owner, epoch, expires_at FROM backstay_claims WHERE name = ?1",
        [name],
        read::claim,
    )?;
    if let Some(last) = &last {
        last.ensure_over(group.now)?;
    }
    let last = last.map_or(0, |last| last.epoch);
    let fence = fence_name(name);
    let highest = highest(group, &fence)?;
    let claim = Claim {
        name: name.to_owned(),
        owner,
        epoch: next_epoch(last, highest)?,
        expires_at: group.now.plus(ttl),
    };
    group.run(
        "INSERT INTO backstay_claims (name, owner, epoch, expires_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, \
         expires_at = excluded.expires_at",
        params![
            name,
            owner.as_bytes(),
            claim.epoch.cast_signed(),
            claim.expires_at
        ],
    )?;
    raise(group, &fence, claim.epoch)?;
    Ok(claim)
}

/// Holds a claim for longer, if it is still held.
pub(super) fn renew(
    group: &mut Group<'_>,
    claim: &Claim,
    ttl: Duration,
) -> Result<Claim, ClaimError> {
    let expires_at = group.now.plus(ttl);
    if !hold_until(group, claim, expires_at)? {
        return Err(ClaimError::Lost {
            name: claim.name.clone(),
            epoch: claim.epoch,
        });
    }
    Ok(Claim {
        expires_at,
        ..claim.clone()
    })
}

/// Gives a claim up, if it is still held.
pub(super) fn release(group: &mut Group<'_>, claim: &Claim) -> Result<bool, Unavailable> {
    hold_until(group, claim, group.now)
}

fn hold_until(group: &Group<'_>, claim: &Claim, until: Timestamp) -> Result<bool, Unavailable> {
    let Ok(epoch) = i64::try_from(claim.epoch) else {
        return Ok(false);
    };
    let changed = group.run(
        "UPDATE backstay_claims SET expires_at = ?4 \
         WHERE name = ?1 AND owner = ?2 AND epoch = ?3 AND expires_at > ?5",
        params![claim.name, claim.owner.as_bytes(), epoch, until, group.now],
    )?;
    Ok(changed == 1)
}

/// What one sweep has done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swept {
    /// Keys whose time was over.
    pub(super) expired: u64,
    /// Whether it stopped at its bound.
    pub(super) more: bool,
}

/// Takes expired keys away, and forgets deletions and commits that are old: some of each, because all who write wait.
pub(super) fn sweep(group: &mut Group<'_>) -> Result<Swept, Unavailable> {
    let expired = read::many(
        group.transaction,
        "SELECT name FROM backstay_keys WHERE expires_at <= ?1 LIMIT ?2",
        params![group.now, SWEPT_AT_ONCE],
        |row| row.get::<_, String>(0),
    )?;
    for key in &expired {
        change(group, key, None, None)?;
    }
    let before = group.now.minus(group.options.remember);
    let deletions = read::many(
        group.transaction,
        "DELETE FROM backstay_keys WHERE name IN (SELECT name FROM backstay_keys \
         WHERE value IS NULL AND changed_at < ?1 LIMIT ?2) RETURNING revision",
        params![before, SWEPT_AT_ONCE],
        |row| row.get::<_, Position>(0),
    )?;
    if let Some(last) = deletions.iter().max() {
        let forgotten = "UPDATE backstay_state SET forgotten = max(forgotten, ?1)";
        group.run(forgotten, [last])?;
    }
    // The first six bytes of a batch's id are the time at which it was made, by a clock that may have been set since.
    let before = before.min(group.options.clock.shown().minus(group.options.remember));
    let mut oldest = [0; 16];
    oldest[..6].copy_from_slice(&before.as_millis().to_be_bytes()[2..]);
    let commits = group.run(
        "DELETE FROM backstay_commits WHERE batch IN (SELECT batch FROM backstay_commits \
         WHERE batch < ?1 LIMIT ?2)",
        params![oldest, SWEPT_AT_ONCE],
    )?;
    Ok(Swept {
        expired: expired.len() as u64,
        more: [expired.len(), deletions.len(), commits].contains(&(SWEPT_AT_ONCE as usize)),
    })
}
