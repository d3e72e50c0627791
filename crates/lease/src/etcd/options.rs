use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use backstay_core::Invalid;
use backstay_etcd::{BoxError, Client};

use crate::{ConnectError, EtcdLeases};

const PREFIX: &str = "backstay/lease/";
const PREFIX_BYTES: usize = 200;

/// How leases in etcd are reached.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `connect`"]
pub struct EtcdOptions {
    prefix: String,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            prefix: PREFIX.to_owned(),
        }
    }
}

impl EtcdOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What stands before each name in its key: at most 200 bytes; `backstay/lease/`. It has to be the same for all
    /// candidates.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Reaches a cluster by its members' addresses, such as `http://127.0.0.1:2379`.
    ///
    /// # Errors
    ///
    /// An option is out of its range, or no member can grant a lease now.
    pub async fn connect(
        self,
        endpoints: impl IntoIterator<Item: Into<String>>,
    ) -> Result<EtcdLeases, ConnectError> {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        let prefix = self.checked()?;
        EtcdLeases::over(Client::plain(endpoints)?, prefix).await
    }

    /// Reaches a cluster by a client of the user's own: one that speaks TLS, or adds a header for who asks.
    ///
    /// A `hyper_util` client is one. It has to send each request to the address that it names, and to drop the connection
    /// of a request whose answer nobody waits for any longer.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with<S, B>(
        self,
        client: S,
        endpoints: impl IntoIterator<Item: Into<String>>,
    ) -> Result<EtcdLeases, ConnectError>
    where
        S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        let prefix = self.checked()?;
        EtcdLeases::over(Client::over(client, endpoints)?, prefix).await
    }

    fn checked(self) -> Result<String, Invalid> {
        if self.prefix.len() > PREFIX_BYTES {
            let limit = format!("must be at most {PREFIX_BYTES}");
            return Err(Invalid::new("prefix, bytes", self.prefix.len(), limit));
        }
        Ok(self.prefix)
    }
}
