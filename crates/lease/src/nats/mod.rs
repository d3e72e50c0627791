//! Leases in NATS.
//!
//! A name is a key of a bucket that forgets what is as old as a lease may get; its holder writes it anew to renew it.
//! docs/formats.md says what is kept.

mod bucket;
mod hints;
mod options;

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use backstay_core::{Effect, Invalid};
use backstay_store::{Cause, Owner, Unavailable};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use async_nats;
pub use options::NatsOptions;

use crate::{Acquired, ConnectError, Holder, Lease, Leases, Pending, Wanted, owner};
use bucket::{Bucket, Newest};

/// How often it is tried anew when others were first: each time one of them has got what it wanted.
const TRIES: u32 = 16;

/// Leases in NATS `JetStream`, 2.9 or newer, all of one time to live. Cheap to clone; all clones are the same home.
///
/// What is read comes from the leader of the bucket's stream, and every write names the revision it follows.
///
/// - Leases are of whole milliseconds, from 100 ms. Each time to live has a bucket of its own.
/// - A token is the time the bucket was made, in tens of microseconds, and the revision of the term's first message added to it.
///   It rises also when a server is restarted and when the bucket was deleted and is made again. **It goes back when a
///   bucket is restored from a backup**, and when a server has lost what it acknowledged: by default NATS does not wait
///   for its disk, so a power cut can do that to a bucket on one server. The fences then refuse it until it has grown
///   past the old ones.
/// - Age is counted by the servers' wall clocks. A step of the clock, or another server whose clock is ahead, ends a lease
///   sooner: keep them together, to less than the election's margin. Only the fence stops a leader in such a moment.
/// - Nobody may delete the bucket, or keys in it, while somebody leads.
/// - A lease that lapses gives no hint, and its time is not known to others: they look every eighth of the time to live.
///
/// What is asked while the client is not connected fails at once.
#[derive(Clone, Debug)]
pub struct NatsLeases(Arc<Bucket>);

/// What the key of a held name says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Holding {
    #[serde(with = "owner")]
    owner: Owner,
    about: String,
    /// When the bucket was made.
    base: u64,
    /// Of the term's first message; it can't say it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
}

impl NatsLeases {
    /// Opens the bucket for leases of this time to live, or makes it. See [`NatsOptions`] for more.
    pub async fn open(client: Client, ttl: Duration) -> Result<Self, ConnectError> {
        NatsOptions::new().open(client, ttl).await
    }

    fn on(bucket: Bucket) -> Self {
        Self(Arc::new(bucket))
    }

    /// Elections have checked it.
    fn refuse_longer(&self, name: &str, ttl: Duration) -> Result<(), Unavailable> {
        if ttl <= self.0.ttl() {
            return Ok(());
        }
        let refused = self.check(name, ttl);
        refused.map_err(|invalid| bucket::failed(Effect::NotExecuted, invalid))
    }
}

impl Leases for NatsLeases {
    fn check(&self, _name: &str, ttl: Duration) -> Result<(), Invalid> {
        let (bucket, limit) = (self.0.name(), self.0.ttl());
        if ttl != limit {
            let limit = format!("must be {limit:?}, as in the bucket {bucket}");
            return Err(Invalid::new("ttl", format!("{ttl:?}"), limit));
        }
        Ok(())
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        async move {
            self.refuse_longer(&wanted.name, wanted.ttl)?;
            acquire(&self.0, wanted).await
        }
        .boxed()
    }

    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool> {
        async move {
            self.refuse_longer(&lease.name, ttl)?;
            renew(&self.0, &lease).await
        }
        .boxed()
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        async move { release(&self.0, &lease).await }.boxed()
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Holder>> {
        async move {
            match self.0.newest(&name).await? {
                Newest::Gone(_) => Ok(None),
                Newest::Value(revision, value) => Ok(Some(read(&value)?.holder(name, revision))),
            }
        }
        .boxed()
    }

    fn hints(&self, name: String) -> BoxStream<'static, ()> {
        hints::hints(self.0.clone(), &name)
    }
}

async fn acquire(bucket: &Bucket, wanted: Wanted) -> Result<Acquired, Unavailable> {
    for _ in 0..TRIES {
        let gone = match bucket.newest(&wanted.name).await? {
            Newest::Gone(revision) => revision,
            Newest::Value(revision, value) => {
                let holder = read(&value)?.holder(wanted.name, revision);
                return Ok(Acquired::Held(holder));
            }
        };
        // Asked each time: a bucket may have been made anew since.
        let holding = Holding {
            owner: wanted.owner,
            about: wanted.about.clone(),
            base: bucket.base().await?,
            revision: None,
        };
        let value = holding.to_bytes();
        if let Some(revision) = bucket.write(&wanted.name, gone, value).await? {
            let lease = holding.holder(wanted.name, revision).lease;
            return Ok(Acquired::Granted(lease));
        }
    }
    Err(Unavailable::new(Cause::Busy, Effect::NotExecuted))
}

async fn renew(bucket: &Bucket, lease: &Lease) -> Result<bool, Unavailable> {
    for _ in 0..TRIES {
        let Some((newest, holding)) = find_own(bucket, lease).await? else {
            return Ok(false);
        };
        let holding = Holding {
            revision: Some(holding.revision.unwrap_or(newest)),
            ..holding
        };
        let written = bucket.write(&lease.name, newest, holding.to_bytes());
        if written.await?.is_some() {
            return Ok(true);
        }
    }
    Err(Unavailable::new(Cause::Busy, Effect::NotExecuted))
}

async fn release(bucket: &Bucket, lease: &Lease) -> Result<(), Unavailable> {
    for _ in 0..TRIES {
        let Some((newest, _)) = find_own(bucket, lease).await? else {
            return Ok(());
        };
        if bucket.delete(&lease.name, newest).await?.is_some() {
            return Ok(());
        }
    }
    Err(Unavailable::new(Cause::Busy, Effect::NotExecuted))
}

/// A holding that is not over, and the revision it was written in last.
async fn find_own(bucket: &Bucket, lease: &Lease) -> Result<Option<(u64, Holding)>, Unavailable> {
    let Newest::Value(revision, value) = bucket.newest(&lease.name).await? else {
        return Ok(None);
    };
    let holding = read(&value)?;
    let is_own = holding.owner == lease.owner && holding.token(revision) == lease.token;
    Ok(is_own.then_some((revision, holding)))
}

fn read(value: &[u8]) -> Result<Holding, Unavailable> {
    serde_json::from_slice(value)
        .map_err(|error| Unavailable::new(Cause::Corrupt, Effect::NotExecuted).because(error))
}

impl Holding {
    fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("plain data").into()
    }

    /// The revision is that of the message it was read from.
    fn token(&self, revision: u64) -> u64 {
        self.base.saturating_add(self.revision.unwrap_or(revision))
    }

    fn holder(self, name: String, revision: u64) -> Holder {
        Holder {
            lease: Lease {
                name,
                owner: self.owner,
                token: self.token(revision),
            },
            about: self.about,
            left: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/formats.md: how a holding is written, and what its token is.
    #[test]
    fn a_holding_reads_as_documented() {
        let owner = Owner::from_bytes([0xab; 16]);
        let first = Holding {
            owner,
            about: "here".to_owned(),
            base: 170_000_000_000_000,
            revision: None,
        };
        let text = r#"{"owner":"abababab-abab-abab-abab-abababababab","about":"here","base":170000000000000}"#;
        assert_eq!(first.to_bytes(), text);
        let renewal = text.replace('}', r#","revision":7}"#);
        let renewed = read(renewal.as_bytes()).expect("as documented");
        assert_eq!(renewed.to_bytes(), renewal);
        for (holding, newest) in [(first, 7), (renewed, 12)] {
            let holder = holding.holder("job".to_owned(), newest);
            assert_eq!(holder.lease.token, 170_000_000_000_007);
            assert_eq!((holder.lease.owner, &*holder.about), (owner, "here"));
        }
    }
}
