//! Leases in a store on Postgres.

use std::sync::Arc;
use std::time::Duration;

use backstay_lease::conformance::Subject;
use backstay_lease::{ConnectError, Leases};
use backstay_store::postgres::PostgresOptions;
use backstay_store::{Cause, Effect, Unavailable};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::servers::Site;

pub(crate) struct Postgres {
    url: String,
    schema: String,
}

impl Postgres {
    pub(crate) fn new() -> Option<Self> {
        test_servers::postgres().map(Self::on)
    }

    pub(crate) fn on(url: String) -> Self {
        let schema = test_servers::own_name();
        Self { url, schema }
    }
}

impl Subject for Postgres {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Leases>> {
        async {
            let opened = self.open_at(self.url.clone()).await;
            opened.expect("a store")
        }
        .boxed()
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn late(&self) -> Duration {
        Duration::from_millis(10)
    }
}

impl Site for Postgres {
    fn url(&self) -> &str {
        &self.url
    }

    fn open_at(&self, url: String) -> BoxFuture<'_, Result<Arc<dyn Leases>, ConnectError>> {
        async move {
            let options = PostgresOptions::new().schema(&self.schema).pool(2);
            let store = options.connect(&url).await;
            let failed = |_| Unavailable::new(Cause::Storage, Effect::NotExecuted);
            Ok(Arc::new(store.map_err(failed)?.store()) as _)
        }
        .boxed()
    }
}

backstay_lease::conformance!(match Postgres::new() {
    Some(postgres) => postgres,
    None => return,
});
