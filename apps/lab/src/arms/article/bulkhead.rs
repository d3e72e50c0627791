//! `BulkheadExecutor`.

use std::collections::HashMap;
use std::future::Future;

use tokio::sync::Semaphore;

use crate::engine::client::Failure;

const FULL: &str = "bulkhead full: too many concurrent operations";

pub(super) struct BulkheadExecutor {
    semaphores: HashMap<&'static str, Semaphore>,
}

impl BulkheadExecutor {
    pub(super) fn new(pools: &[(&'static str, usize)]) -> Self {
        let semaphores = pools
            .iter()
            .map(|(name, size)| (*name, Semaphore::new(*size)))
            .collect();
        Self { semaphores }
    }

    pub(super) async fn execute<F, Fut>(&self, pool: &str, call: F) -> Result<(), Failure>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        // Quirk: a pool nobody has named is a nil channel in Go, and full for ever.
        let Some(semaphore) = self.semaphores.get(pool) else {
            return Err(Failure::Refused(FULL));
        };
        // Quirk: no place to wait in, not even for a moment.
        let Ok(_permit) = semaphore.try_acquire() else {
            return Err(Failure::Refused(FULL));
        };
        call().await
    }
}
