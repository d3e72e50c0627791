//! Stores of every kind, empty at first, with a clock that the test sets.

use std::task::Poll;
use std::time::Duration;

use backstay_store::postgres::PostgresOptions;
use backstay_store::sqlite::SqliteOptions;
use backstay_store::{MemoryStore, PostgresStore, SqliteStore, Store, TestClock, Timestamp};
use tempfile::TempDir;

/// Some time in 2026.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_795_000_000_000);
/// Longer than a run that nobody renews.
pub(crate) const A_MINUTE: Duration = Duration::from_secs(60);

/// Waits for what comes in far less time.
pub(crate) async fn soon<T>(comes: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(A_MINUTE, comes).await;
    within.expect("it comes within a minute")
}

/// Polls a future so often at most, and drops it.
pub(crate) async fn leave_after(polls: u32, future: impl Future) {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 || future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Lets others go on until it is so.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    soon(async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) struct Ground {
    pub(crate) name: &'static str,
    pub(crate) store: Store,
    pub(crate) clock: TestClock,
    _folder: Option<TempDir>,
}

impl Ground {
    pub(crate) fn memory() -> Self {
        let clock = TestClock::at(START);
        Self {
            name: "memory",
            store: MemoryStore::with_clock(clock.clone()).into_store(),
            clock,
            _folder: None,
        }
    }

    /// One of each kind.
    pub(crate) async fn each() -> Vec<Self> {
        let (folder, sqlite, clock) = sqlite().await;
        let mut each = vec![
            Self::memory(),
            Self {
                name: "SQLite",
                store: sqlite.store(),
                clock,
                _folder: Some(folder),
            },
        ];
        if let Some((postgres, clock, _)) = postgres().await {
            each.push(Self {
                name: "Postgres",
                store: postgres.store(),
                clock,
                _folder: None,
            });
        }
        each
    }

    /// How many are at work.
    pub(crate) async fn runs(&self) -> usize {
        let runs = self.store.list("idempotency/run/", "", 100).await;
        runs.unwrap().len()
    }

    /// How many keys the store has.
    pub(crate) async fn keys(&self) -> usize {
        self.store.list("", "", 100).await.unwrap().len()
    }
}

pub(crate) async fn sqlite() -> (TempDir, SqliteStore, TestClock) {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at(START);
    let options = SqliteOptions::new().clock(clock.clone());
    let store = options.open(folder.path().join("store.db")).await.unwrap();
    (folder, store, clock)
}

/// None, and a line that says so, where the tests were told to do without Postgres.
pub(crate) async fn postgres() -> Option<(PostgresStore, TestClock, String)> {
    let url = test_servers::postgres()?;
    let clock = TestClock::at(START);
    let schema = test_servers::own_name();
    let options = PostgresOptions::new()
        .schema(&schema)
        .pool(8)
        .clock(clock.clone());
    Some((options.connect(&url).await.unwrap(), clock, schema))
}
