//! What the user's own statements must not do in our transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Instructions of SQLite's machine between two looks at the clock: a fraction of a millisecond.
const BETWEEN_LOOKS: i32 = 10_000;
/// Not raised.
const NEVER: u64 = u64::MAX;

/// While it is raised, statements can't end the transaction, change settings or touch our tables, and are stopped when
/// their time is over.
#[derive(Debug)]
pub(super) struct Guard {
    start: Instant,
    /// In nanoseconds from the start.
    until: Arc<AtomicU64>,
}

/// The user's code ran for too long.
pub(super) struct TookTooLong;

impl Guard {
    pub(super) fn watch(connection: &mut Connection) -> rusqlite::Result<Self> {
        let guard = Self {
            start: now(),
            until: Arc::new(NEVER.into()),
        };
        let until = guard.until.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            if until.load(Relaxed) != NEVER && !allowed(&context.action) {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        }))?;
        // After a statement that gave up the transaction, the next ones would each be committed alone.
        let until = guard.until.clone();
        connection.commit_hook(Some(move || until.load(Relaxed) != NEVER))?;
        let (start, until) = (guard.start, guard.until.clone());
        let stop = move || {
            let until = until.load(Relaxed);
            until != NEVER && nanos(start.elapsed()) >= until
        };
        connection.progress_handler(BETWEEN_LOOKS, Some(stop))?;
        Ok(guard)
    }

    /// The time since some moment, by the clock of the thread that writes.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Runs the user's code behind the guard, which does not panic.
    pub(super) fn around<T>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T,
    ) -> Result<T, TookTooLong> {
        let until = nanos(self.start.elapsed()).saturating_add(nanos(limit));
        self.until.store(until.min(NEVER - 1), Relaxed);
        let done = work();
        self.until.store(NEVER, Relaxed);
        if nanos(self.start.elapsed()) >= until {
            return Err(TookTooLong);
        }
        Ok(done)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread that writes has no other clock"
)]
fn now() -> Instant {
    Instant::now()
}

fn allowed(action: &AuthAction<'_>) -> bool {
    let others = |table: &str| !table.to_ascii_lowercase().starts_with("backstay_");
    match action {
        AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. }
        | AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        // They outlive the work, and one with the name of our table is taken for it.
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::CreateTempTrigger { .. } => false,
        AuthAction::Pragma { pragma_value, .. } => pragma_value.is_none(),
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::CreateTable { table_name }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::CreateView {
            view_name: table_name,
        }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. } => others(table_name),
        _ => true,
    }
}
