//! STO-9: it does what every backend has to do.

use backstay_store::conformance::{START, Subject};
use backstay_store::sqlite::SqliteOptions;
use backstay_store::{Store, TestClock};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

struct Sqlite {
    folder: TempDir,
    clock: TestClock,
}

impl Sqlite {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            clock: TestClock::at(START),
        }
    }
}

impl Subject for Sqlite {
    fn open(&self) -> BoxFuture<'_, Store> {
        async {
            let options = SqliteOptions::new().clock(self.clock.clone());
            let opened = options.open(self.folder.path().join("store.db")).await;
            opened.expect("a store").store()
        }
        .boxed()
    }

    fn clock(&self) -> TestClock {
        self.clock.clone()
    }
}

backstay_store::conformance!(Sqlite::new());
