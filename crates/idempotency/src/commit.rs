//! Commits whose answer may be lost.

use std::time::Duration;

use backstay_core::Effect;
use backstay_store::{Batch, Cause, Commit, CommitError, Store, Unavailable};
use tokio::time::sleep;

/// Waits before the same batch is committed again: a connection comes back, a lock is given away.
pub(crate) const PAUSES: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// What may have happened, until it is known.
    Unknown,
    /// Also what did not: giving up loses what a handler has done.
    Any,
}

/// Commits a batch; one that may have been committed already is committed again, which changes nothing twice.
pub(crate) async fn commit(
    store: &Store,
    batch: Batch,
    again: Again,
) -> Result<Commit, CommitError> {
    let mut unknown = None;
    for pause in PAUSES {
        match store.commit(batch.clone()).await {
            Err(CommitError::Unavailable(error)) if worth(&error, again, unknown.is_some()) => {
                if error.effect() == Effect::Unknown {
                    unknown = Some(error);
                }
                sleep(pause).await;
            }
            told => return told,
        }
    }
    match (store.commit(batch).await, unknown) {
        // The last try says only what itself has done.
        (Err(CommitError::Unavailable(_)), Some(earlier)) => Err(earlier.into()),
        (told, _) => told,
    }
}

fn worth(error: &Unavailable, again: Again, unknown: bool) -> bool {
    let passing = !matches!(
        error.cause(),
        Cause::ReadOnly | Cause::Full | Cause::Corrupt | Cause::Closed
    );
    passing && (again == Again::Any || unknown || error.effect() == Effect::Unknown)
}
