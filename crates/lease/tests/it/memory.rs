//! Leases in a store that lives in memory.

use std::sync::Arc;
use std::time::Duration;

use backstay_lease::Leases;
use backstay_lease::conformance::Subject;
use backstay_store::{MemoryStore, Store};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

struct Memory(Store);

impl Memory {
    fn new() -> Self {
        Self(MemoryStore::new().into_store())
    }
}

impl Subject for Memory {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Leases>> {
        async { Arc::new(self.0.clone()) as _ }.boxed()
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn late(&self) -> Duration {
        Duration::from_millis(10)
    }
}

backstay_lease::conformance!(Memory::new());
