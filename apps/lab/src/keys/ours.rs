//! Our copy of all keys, and our cache of those that were asked for.

use std::io;
use std::path::Path;
use std::time::Duration;

use backstay::replica::{Backoff, Cached, HttpSource, Replica};
use tokio::time::timeout;

use super::authority::Authority;

/// Nothing older is believed. The default is no bound; it is short here so that a run is.
pub(crate) const BOUND: Duration = Duration::from_secs(4);
/// The least of which a server is asked to wait; the default is 5 s.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
/// Whoever refuses everybody looks again sooner than after 30 s, the default.
const RETRY_AT_MOST: Duration = Duration::from_secs(1);
/// The least; the default is a minute.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How long an answer is kept; the default is a minute.
const TTL: Duration = Duration::from_secs(1);
/// How long a question may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn copy(
    authority: Authority,
    folder: &Path,
    bound: Option<Duration>,
) -> anyhow::Result<Replica<String, u32>> {
    let source = HttpSource::new(&format!("http://{}/feed", authority.0))?;
    let builder = Replica::builder(source)
        .heartbeat(HEARTBEAT)
        .backoff(Backoff::decorrelated(Duration::from_millis(250)).cap(RETRY_AT_MOST))
        .warm(folder.join("keys.copy"))
        .save_every(SAVE_EVERY);
    let builder = match bound {
        Some(bound) => builder.fail_closed(bound),
        None => builder,
    };
    Ok(builder.build()?.spawn())
}

pub(super) fn look_ups(authority: Authority) -> anyhow::Result<Cached<String, u32, io::Error>> {
    let load = move |key: String| async move {
        let answer = timeout(PATIENCE, authority.one(&key)).await?;
        answer.map_err(io::Error::other)
    };
    let cached = Cached::builder(load).ttl(TTL).fail_closed(BOUND);
    Ok(cached.build()?)
}
