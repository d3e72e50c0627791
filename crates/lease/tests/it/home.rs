//! The homes, by names that can be given to another process.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use backstay_lease::Leases;
use backstay_lease::etcd::EtcdOptions;
use backstay_lease::nats::{NatsOptions, async_nats};
use backstay_store::SqliteStore;
use backstay_store::postgres::PostgresOptions;

/// Where leases live.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    kind: Kind,
    /// A path or a URL.
    place: String,
    /// What there is of this test's own: a schema, a prefix or a bucket.
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    Etcd,
    Nats,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Sqlite, "SQLITE"),
    (Kind::Postgres, "POSTGRES"),
    (Kind::Etcd, "ETCD"),
    (Kind::Nats, "NATS"),
];

impl Kind {
    fn name(self) -> &'static str {
        KINDS[self as usize].1
    }
}

impl Home {
    /// None where the tests were told to do without its server.
    pub(crate) fn new(kind: Kind, folder: &Path) -> Option<Self> {
        let place = match kind {
            Kind::Sqlite => folder.join("home.db").display().to_string(),
            Kind::Postgres => test_servers::postgres()?,
            Kind::Etcd => test_servers::etcd()?,
            Kind::Nats => test_servers::nats()?,
        };
        let name = test_servers::own_name();
        Some(Self { kind, place, name })
    }

    pub(crate) async fn open(&self) -> Arc<dyn Leases> {
        let Self { place, name, .. } = self;
        match self.kind {
            Kind::Sqlite => {
                let store = SqliteStore::open(place).await.expect("a store");
                Arc::new(store.store())
            }
            Kind::Postgres => {
                let store = PostgresOptions::new().schema(name).connect(place).await;
                Arc::new(store.expect("a store").store())
            }
            Kind::Etcd => {
                let leases = EtcdOptions::new().prefix(name).connect([place]).await;
                Arc::new(leases.expect("leases"))
            }
            Kind::Nats => {
                let client = async_nats::connect(place).await.expect("a client");
                let leases = NatsOptions::new()
                    .bucket(name)
                    .open(client, self.ttl())
                    .await;
                Arc::new(leases.expect("leases"))
            }
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        match self.kind {
            Kind::Etcd => Duration::from_secs(2),
            _ => Duration::from_millis(500),
        }
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind.name(), self.place, self.name)
    }
}

impl FromStr for Home {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let [kind, place, name] = text.split(' ').collect::<Vec<_>>()[..] else {
            return Err("a home has a kind, a place and a name");
        };
        let known = KINDS.iter().find(|(_, known)| *known == kind);
        let (kind, _) = known.ok_or("it is of no known kind")?;
        Ok(Self {
            kind: *kind,
            place: place.to_owned(),
            name: name.to_owned(),
        })
    }
}
