//! A copy of keys in etcd.

mod ask;
mod session;
mod watch;

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use backstay_core::Invalid;
pub use backstay_etcd::BoxError;
use backstay_etcd::Client;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::names::Memory;
use crate::{Codec, Session, Source, Start};
use session::Follows;

/// The keys of an etcd cluster, 3.4 or newer, that begin with a prefix. It speaks etcd's JSON gateway, which is on by default.
///
/// The number of a version is a revision of the cluster, which is what a write returns. Its epoch is made of the cluster's id,
/// and grows where the copy sees another cluster, or one that has gone back, as after a restore from a backup. **A restore
/// that has passed the copy's revision before it looks again is not seen**, unless it made another cluster.
///
/// What proves an age is the answer to a question of the copy's own that goes through the quorum: what has changed since the last
/// one, and how many keys there are. Where there are fewer than the copy has, their names are asked for. So nothing depends
/// on a watch, which brings changes at once and may fail; and nothing on old revisions, which may be compacted at any time.
///
/// - **Each proof lets the member read all keys of the prefix**, once a heartbeat and when a reader wants a younger copy: some
///   milliseconds for ten thousand. For more keys take a longer heartbeat.
/// - It keeps the names of keys in memory. A first copy, also after a warm start, is read from the beginning; later sessions go on
///   where the last one ended.
/// - A version of etcd in which a member that was stopped for a while answers with what is old (etcd #20418) makes ages too low then.
///
/// Endpoints are tried in turn: one that fails, or does not answer in time, is left for the next.
///
/// ```no_run
/// # async fn flags() -> Result<(), Box<dyn std::error::Error>> {
/// use backstay_replica::{EtcdSource, MaxAge, Replica};
///
/// let source = EtcdSource::new(["http://etcd-1:2379", "http://etcd-2:2379"], "flags/")?;
/// let flags: Replica<String, bool> = Replica::builder(source).build()?.start().await?;
/// let is_on = flags.get("new-checkout", MaxAge::secs(10)).await?.value;
/// # drop(is_on); Ok(())
/// # }
/// ```
pub struct EtcdSource<K, V> {
    client: Client,
    prefix: String,
    codec: Codec<K, V>,
    memory: Memory,
}

impl<K, V> EtcdSource<K, V> {
    /// The keys with a prefix, by what comes after it, on members such as `http://127.0.0.1:2379`. Keys by their `FromStr`,
    /// values from JSON.
    ///
    /// # Errors
    ///
    /// There is no address, or one can't be asked: for TLS, and for headers of one's own, see [`with_client`](Self::with_client).
    pub fn new(
        endpoints: impl IntoIterator<Item: Into<String>>,
        prefix: impl Into<String>,
    ) -> Result<Self, Invalid>
    where
        K: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
        V: DeserializeOwned,
    {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Ok(Self::over(Client::plain(endpoints)?, prefix.into()))
    }

    /// Asks by a client of the user's own: one that speaks TLS, or says who asks.
    ///
    /// A `hyper_util` client is one. It has to send each request to the address that it names, and to drop the connection
    /// of a request whose answer nobody waits for any longer.
    ///
    /// # Errors
    ///
    /// There is no address, or one is none.
    pub fn with_client<S, B>(
        client: S,
        endpoints: impl IntoIterator<Item: Into<String>>,
        prefix: impl Into<String>,
    ) -> Result<Self, Invalid>
    where
        K: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
        V: DeserializeOwned,
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Ok(Self::over(Client::over(client, endpoints)?, prefix.into()))
    }

    fn over(client: Client, prefix: String) -> Self
    where
        K: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
        V: DeserializeOwned,
    {
        Self {
            client,
            prefix,
            codec: Codec::json(),
            memory: Memory::default(),
        }
    }

    /// Reads keys and values by another codec.
    pub fn codec<L, W>(self, codec: Codec<L, W>) -> EtcdSource<L, W> {
        EtcdSource {
            client: self.client,
            prefix: self.prefix,
            codec,
            memory: self.memory,
        }
    }
}

impl<K: Send + 'static, V: Send + 'static> Source<K, V> for EtcdSource<K, V> {
    fn name(&self) -> String {
        format!("etcd:{}", self.prefix)
    }

    fn open(&self, start: Start) -> Session<K, V> {
        let (client, prefix) = (self.client.clone(), self.prefix.clone());
        let follows = Follows::new(client, prefix, self.codec.clone(), &self.memory, start);
        try_unfold(follows, |mut follows| async move {
            let news = follows.next().await?;
            Ok(Some((news, follows)))
        })
        .boxed()
    }
}

impl<K, V> fmt::Debug for EtcdSource<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdSource")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
