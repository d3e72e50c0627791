use std::time::{SystemTime, UNIX_EPOCH};

use backstay_core::Invalid;
use backstay_store::{Batch, CommitError, Expected, Position, Put, Store};

use crate::{SourceError, Version};

/// Which history the store is in: a number that grows with each.
pub(crate) const EPOCH_KEY: &str = "backstay/replica/epoch";

/// Others write the key only when they see what we see; after so many tries something is wrong.
const TRIES: usize = 8;

/// By so much the clocks of those who begin epochs may differ.
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// The store's history, which begins where nobody has asked before, and where the store is behind what somebody holds.
pub(crate) async fn epoch(store: &Store, held: Option<Version>) -> Result<u64, SourceError> {
    let soonest_future = unix_millis().saturating_add(DAY_MILLIS);
    for _ in 0..TRIES {
        // The key first: whoever has written it anew has seen this head or an earlier one.
        let entry = store.get(EPOCH_KEY).await.map_err(SourceError::new)?;
        let position = store.head().await.map_err(SourceError::new)?;
        let known = entry.as_ref().map(|entry| read(&entry.value)).transpose()?;
        // Somebody else's claim, perhaps: a number like that would be the last. What the store itself has is none.
        let held = held.filter(|held| held.epoch <= soonest_future || Some(held.epoch) == known);
        let has_gone_back = |held: Version| {
            known.is_none_or(|known| known < held.epoch)
                || (known == Some(held.epoch) && position.get() < held.number)
        };
        if let Some(known) = known
            && !held.is_some_and(has_gone_back)
        {
            return Ok(known);
        }
        let next = [held.map(|held| held.epoch), known]
            .into_iter()
            .flatten()
            .max();
        let next = next.map_or(0, |last| last + 1).max(unix_millis());
        let expected = entry.map_or(Expected::Absent, |entry| Expected::Exactly(entry.revision));
        match store.commit(write(next, expected)).await {
            Ok(_) => return Ok(next),
            Err(CommitError::Conflict(_)) => {}
            Err(error) => return Err(SourceError::new(error)),
        }
    }
    Err(SourceError::new("others write the epoch all the time"))
}

fn write(epoch: u64, expected: Expected<Position>) -> Batch {
    let put = Put::new(epoch.to_string()).expecting(expected);
    Batch::new().put(EPOCH_KEY, put)
}

fn read(value: &[u8]) -> Result<u64, SourceError> {
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let value = String::from_utf8_lossy(value).into_owned();
        SourceError::new(Invalid::new(EPOCH_KEY, value, "must be a number"))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "epochs of stores that know nothing of each other are ordered by the time they began"
)]
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
