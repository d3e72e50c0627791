//! The way to the server, and what is checked before it is relied on.

use std::sync::Arc;
use std::time::Duration;

use backstay_core::Invalid;
use deadpool_postgres::{BuildError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::Failure;
use super::server::Server;
use super::{PostgresOptions, schema};

/// Why a store on a server can't be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// An option is out of its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The address can't be read.
    #[error("the address is not one of Postgres")]
    Address(#[source] tokio_postgres::Error),
    /// The operating system has no certificates to check the server's against.
    #[error("no certificate authorities can be read, so the server can't be checked")]
    Certificates(#[source] Option<rustls_native_certs::Error>),
    /// The encryption can't be set up.
    #[error("encryption can't be set up")]
    Encryption(#[source] rustls::Error),
    /// The server can't be reached, lets nobody in, or does not answer.
    #[error("the server can't be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server would lose what it has acknowledged.
    #[error("{setting} is {found:?} and not {wanted:?}: commits would not be durable")]
    NotDurable {
        /// The server's setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// The database can't hold every text.
    #[error("the database's encoding is {found:?}; UTF8 is needed")]
    Encoding {
        /// The database's.
        found: String,
    },
    /// There is no store in the schema, and [`must_exist`](PostgresOptions::must_exist) says that none is made.
    #[error("there is no store in the schema {schema:?}")]
    Missing {
        /// The schema.
        schema: String,
    },
    /// The schema was written by a newer version.
    #[error("the tables have schema {found}; this version knows {known}")]
    Newer {
        /// The tables'.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// The server refuses to make the tables, or to read them.
    #[error("the tables can't be made or read")]
    Tables(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How a connection is encrypted.
#[derive(Clone)]
pub(super) enum Tls {
    Off,
    On(MakeRustlsConnect),
}

/// Reads the address, and asks the server whether it can be relied on.
pub(super) async fn connect(
    url: &str,
    options: PostgresOptions,
) -> Result<(Server, Config, Tls), ConnectError> {
    options.validate()?;
    let mut config: Config = url.parse().map_err(ConnectError::Address)?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(options.statement_timeout);
    }
    let tls = if config.get_ssl_mode() == SslMode::Require {
        Tls::On(tls().await?)
    } else {
        Tls::Off
    };
    let unreachable = |error: BuildError| ConnectError::Unreachable(error.into());
    let pool = |connections| {
        pool(&config, &tls, connections, options.statement_timeout).map_err(unreachable)
    };
    let server = Server {
        pool: pool(options.pool as usize)?,
        writing: pool(1)?,
        options,
    };
    let checked = check(&server).await;
    checked.map_err(|failure| ConnectError::Unreachable(failure.into()))??;
    schema::prepare(&server).await?;
    Ok((server, config, tls))
}

fn pool(
    config: &Config,
    tls: &Tls,
    connections: usize,
    timeout: Duration,
) -> Result<Pool, BuildError> {
    // Whether a connection is closed is known here; what it was used for is not asked.
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = match tls {
        Tls::Off => Manager::from_config(config.clone(), NoTls, recycling),
        Tls::On(tls) => Manager::from_config(config.clone(), tls.clone(), recycling),
    };
    Pool::builder(manager)
        .max_size(connections)
        .wait_timeout(Some(timeout))
        .create_timeout(Some(timeout))
        .recycle_timeout(Some(timeout))
        .runtime(Runtime::Tokio1)
        .build()
}

async fn tls() -> Result<MakeRustlsConnect, ConnectError> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let mut loaded = loaded.map_err(|error| ConnectError::Unreachable(error.into()))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    if added == 0 {
        return Err(ConnectError::Certificates(loaded.errors.pop()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ConnectError::Encryption)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

async fn check(server: &Server) -> Result<Result<(), ConnectError>, Failure> {
    let session = server.lend(&server.pool).await?;
    let sql = "SELECT current_setting('server_encoding'), current_setting('fsync')";
    let asked = session.client().query_typed_one(sql, &[]);
    let row = server.within(asked).await?;
    session.keep();
    let (encoding, fsync): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    if encoding != "UTF8" {
        return Ok(Err(ConnectError::Encoding { found: encoding }));
    }
    if fsync != "on" {
        return Ok(Err(ConnectError::NotDurable {
            setting: "fsync",
            found: fsync,
            wanted: "on",
        }));
    }
    Ok(Ok(()))
}
