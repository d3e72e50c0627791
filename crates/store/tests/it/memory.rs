//! STO-9: it does what every backend has to do.

use backstay_store::conformance::{START, Subject};
use backstay_store::{MemoryStore, Store, TestClock};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

struct Memory {
    store: Store,
    clock: TestClock,
}

impl Memory {
    fn new() -> Self {
        let clock = TestClock::at(START);
        let store = MemoryStore::with_clock(clock.clone()).into_store();
        Self { store, clock }
    }
}

impl Subject for Memory {
    fn open(&self) -> BoxFuture<'_, Store> {
        ready(self.store.clone()).boxed()
    }

    fn clock(&self) -> TestClock {
        self.clock.clone()
    }
}

backstay_store::conformance!(Memory::new());
