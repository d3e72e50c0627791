//! Copies over HTTP.

use std::sync::Arc;
use std::time::Duration;

use backstay_replica::conformance::{Subject, Way};
use backstay_replica::{HttpSource, Source};
use backstay_store::{Batch, Expected, MemoryStore};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::http::Server;

struct Fed(Server);

impl Fed {
    async fn new() -> Self {
        Self(Server::new().await)
    }

    async fn commit(&self, batch: Batch) -> u64 {
        let committed = self.0.store().commit(batch).await;
        committed.expect("a commit").position.get()
    }
}

impl Subject for Fed {
    fn source(&self) -> Arc<dyn Source<String, u32>> {
        Arc::new(HttpSource::new(&self.0.url()).expect("a URL"))
    }

    fn put<'s>(&'s self, key: &'s str, value: Option<u32>) -> BoxFuture<'s, u64> {
        let name = format!("k/{key}");
        let batch = match value {
            Some(value) => Batch::new().put(name, value.to_string()),
            None => Batch::new().delete(name, Expected::Any),
        };
        self.commit(batch).boxed()
    }

    fn spoil<'s>(&'s self, key: &'s str) -> BoxFuture<'s, ()> {
        let batch = Batch::new().put(format!("k/{key}"), "no number");
        self.commit(batch).map(drop).boxed()
    }

    fn put_aside(&self) -> BoxFuture<'_, u64> {
        self.commit(Batch::new().put("other", "1")).boxed()
    }

    fn way(&self, way: Way) {
        let late = match way {
            Way::Slow(late) => late,
            Way::Free | Way::Cut => Duration::ZERO,
        };
        self.0.late(late);
        self.0.cut(way == Way::Cut);
    }

    fn forget(&self) -> BoxFuture<'_, ()> {
        // A store in memory never does.
        async {}.boxed()
    }

    fn begin_anew(&self) -> BoxFuture<'_, ()> {
        self.0.replace(MemoryStore::new().into_store());
        async {}.boxed()
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        self.0.end();
    }
}

backstay_replica::conformance!(Fed::new().await);
