use std::time::Duration;

use async_nats::Client;
use backstay_core::Invalid;

use super::bucket::Bucket;
use crate::{ConnectError, NatsLeases};

const BUCKET: &str = "backstay-lease";
const BUCKET_BYTES: usize = 100;
/// NATS has no bucket that forgets sooner, and the times of an election are not longer.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const MOST_REPLICAS: usize = 5;

/// How leases in NATS are kept.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `open`"]
pub struct NatsOptions {
    bucket: String,
    replicas: usize,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            bucket: BUCKET.to_owned(),
            replicas: 1,
        }
    }
}

impl NatsOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the bucket's name begins with: 1 to 100 of letters, digits, `-` and `_`; `backstay-lease`. The time to live
    /// follows, as in `backstay-lease-10000`. It has to be the same for all candidates.
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.bucket = name.into();
        self
    }

    /// On how many servers a bucket that is made lies: 1 to 5; 1. In a cluster take 3: with 1, nobody leads while that one
    /// server is away.
    pub fn replicas(mut self, servers: usize) -> Self {
        self.replicas = servers;
        self
    }

    /// Opens the bucket for leases of this time to live, or makes it: whole milliseconds, 100 ms to 24 h.
    ///
    /// # Errors
    ///
    /// An option is out of its range, a bucket of this name was made with other options, or there is no `JetStream` that
    /// answers now.
    pub async fn open(self, client: Client, ttl: Duration) -> Result<NatsLeases, ConnectError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name = &self.bucket;
        if !(1..=BUCKET_BYTES).contains(&name.len()) || !name.chars().all(is_plain) {
            let limit = format!("must be 1 to {BUCKET_BYTES} of letters, digits, - and _");
            return Err(Invalid::new("bucket", format!("{name:?}"), limit).into());
        }
        let whole = Duration::from_millis(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        if !(SHORTEST..=LONGEST).contains(&ttl) || whole != ttl {
            let limit = format!("must be whole milliseconds in {SHORTEST:?}..={LONGEST:?}");
            return Err(Invalid::new("ttl", format!("{ttl:?}"), limit).into());
        }
        if !(1..=MOST_REPLICAS).contains(&self.replicas) {
            let limit = format!("must be in 1..={MOST_REPLICAS}");
            return Err(Invalid::new("replicas", self.replicas, limit).into());
        }
        let name = format!("{name}-{}", ttl.as_millis());
        let bucket = Bucket::new(client, name, ttl, self.replicas);
        bucket.ensure().await?;
        Ok(NatsLeases::on(bucket))
    }
}
