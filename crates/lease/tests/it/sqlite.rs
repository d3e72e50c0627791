//! Leases in a file.

use std::sync::Arc;
use std::time::Duration;

use backstay_lease::Leases;
use backstay_lease::conformance::Subject;
use backstay_store::SqliteStore;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }
}

impl Subject for File {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Leases>> {
        async {
            let store = SqliteStore::open(self.0.path().join("store.db")).await;
            Arc::new(store.expect("a store").store()) as _
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

backstay_lease::conformance!(File::new());
