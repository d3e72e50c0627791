//! A copy of a bucket of keys and values in NATS.

mod bucket;
mod session;

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use async_nats::Client;
use backstay_core::Invalid;
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use serde::de::DeserializeOwned;

pub use async_nats;

use crate::names::Memory;
use crate::{Codec, Session, Source, Start};
use bucket::Bucket;
use session::Follows;

/// The keys of a bucket of NATS `JetStream`, 2.9 or newer.
///
/// The number of a version is the sequence of the bucket's stream, which is what a write of a key returns. Its epoch is made
/// of the time at which the bucket was made, and grows where the copy sees the bucket go back, as after a restore from a backup.
/// **A restore that has passed the copy's number before it looks again is not seen.**
///
/// What proves an age is the answer of the stream's leader to a question of the copy's own: how far the stream is, and how many
/// keys it has. What is gone without a message, because the bucket was purged or has a `max_age`, is found by that count and
/// leads to a new snapshot. So in a bucket whose keys expire all the time there is one at each proof.
///
/// - It reads all of the bucket, whatever the [prefix](Self::prefix): the count is of all keys. It keeps their names in memory.
/// - **Within a cluster a former leader that is cut off from the others may answer** until it notices that, some ten seconds;
///   for so long an age may be too low.
/// - A bucket that is a mirror, or that lets single messages be deleted, is refused: the session ends, and says so.
/// - A first copy, also after a warm start, is read from the beginning; later sessions go on where the last one ended.
///
/// ```no_run
/// # async fn limits() -> Result<(), Box<dyn std::error::Error>> {
/// use backstay_replica::nats::async_nats;
/// use backstay_replica::{MaxAge, NatsSource, Replica};
///
/// let client = async_nats::connect("nats.internal").await?;
/// let source = NatsSource::new(client, "limits")?;
/// let limits: Replica<String, u32> = Replica::builder(source).build()?.start().await?;
/// let limit = limits.get("alice", MaxAge::secs(10)).await?.value;
/// # drop(limit); Ok(())
/// # }
/// ```
pub struct NatsSource<K, V> {
    bucket: Bucket,
    prefix: String,
    codec: Codec<K, V>,
    memory: Memory,
}

impl<K, V> NatsSource<K, V> {
    /// All keys of a bucket: by their `FromStr`, values from JSON.
    ///
    /// # Errors
    ///
    /// It is no name of a bucket. Whether there is one is asked when the copy begins.
    pub fn new(client: Client, bucket: impl Into<String>) -> Result<Self, Invalid>
    where
        K: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
        V: DeserializeOwned,
    {
        Ok(Self {
            bucket: Bucket::new(client, bucket.into())?,
            prefix: String::new(),
            codec: Codec::json(),
            memory: Memory::default(),
        })
    }

    /// Only keys that begin with this, by what comes after it.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Reads keys and values by another codec.
    pub fn codec<L, W>(self, codec: Codec<L, W>) -> NatsSource<L, W> {
        NatsSource {
            bucket: self.bucket,
            prefix: self.prefix,
            codec,
            memory: self.memory,
        }
    }
}

impl<K: Send + 'static, V: Send + 'static> Source<K, V> for NatsSource<K, V> {
    fn name(&self) -> String {
        format!("nats:{}/{}", self.bucket.name(), self.prefix)
    }

    fn open(&self, start: Start) -> Session<K, V> {
        let (bucket, prefix) = (self.bucket.clone(), self.prefix.clone());
        let follows = Follows::new(bucket, prefix, self.codec.clone(), &self.memory, start);
        try_unfold(follows, |mut follows| async move {
            let news = follows.next().await?;
            Ok(Some((news, follows)))
        })
        .boxed()
    }
}

impl<K, V> fmt::Debug for NatsSource<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSource")
            .field("bucket", &self.bucket.name())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
