use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Who asks for less than the way to the source takes is never content: a source is not asked without a pause for that.
const LEAST_BETWEEN: Duration = Duration::from_millis(10);

/// How readers say that they want a proof now. Many of them are one nudge.
#[derive(Debug, Default)]
pub(crate) struct Nudge {
    wanted: Notify,
    last: Mutex<Option<Instant>>,
}

impl Nudge {
    pub(crate) fn nudge(&self) {
        self.wanted.notify_one();
    }

    /// No nudge is lost where this is dropped.
    pub(crate) async fn nudged(&self) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last {
            sleep_until(last + LEAST_BETWEEN).await;
        }
        self.wanted.notified().await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
