//! STO-9: it does what every backend has to do. Beside that, what only a server can do wrong.

use backstay_store::conformance::{START, Subject};
use backstay_store::postgres::PostgresOptions;
use backstay_store::{Store, TestClock};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

mod crash;
mod failures;
mod open;
mod order;
mod server;
mod stopped;
mod sweeping;
mod tls;
mod with;

use server::Schema;

struct Postgres {
    schema: Schema,
    clock: TestClock,
}

impl Postgres {
    fn new() -> Option<Self> {
        Some(Self {
            schema: Schema::new()?,
            clock: TestClock::at(START),
        })
    }
}

impl Subject for Postgres {
    fn open(&self) -> BoxFuture<'_, Store> {
        async {
            let options = PostgresOptions::new().pool(4).clock(self.clock.clone());
            self.schema.open_with(options).await.store()
        }
        .boxed()
    }

    fn clock(&self) -> TestClock {
        self.clock.clone()
    }
}

backstay_store::conformance!(match Postgres::new() {
    Some(subject) => subject,
    None => return,
});
