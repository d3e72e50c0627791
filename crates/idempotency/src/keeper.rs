//! The task that holds a claim: it takes it, renews its run, and ends it.
//!
//! What it does is not stopped by whoever waits for it: a caller that hangs up while the answer is kept does not lose it.
//! Dropping the handle tells the task, which gives the run up; that never blocks. If the runtime ends with it, the run
//! expires.

use backstay_store::{Batch, CommitError, Expected, Position};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::commit::{Again, commit};
use crate::records::{Claim, gone};

/// What becomes of a claim.
#[derive(Debug)]
pub(crate) enum End {
    /// The answer is kept.
    Finish(Box<RawValue>),
    /// Nothing has happened.
    Free,
    /// What has happened is not known.
    Leave,
    /// The answer was committed, and with it the end of the run.
    #[cfg(feature = "http")]
    Done,
}

/// What came of a claim that was committed.
#[derive(Debug)]
pub(crate) enum Claimed {
    Held { keeper: Keeper, revision: Position },
    Overtaken,
}

/// The handle of the task. Dropped without an end it leaves the record open.
#[derive(Debug)]
pub(crate) struct Keeper {
    end: Option<oneshot::Sender<End>>,
    task: JoinHandle<Result<(), CommitError>>,
}

/// The revisions that a claim gave.
#[derive(Clone, Copy, Debug)]
struct Revisions {
    record: Position,
    run: Position,
}

impl Keeper {
    /// Takes the claim and keeps it. A caller who is gone before it is taken frees it.
    pub(crate) async fn start(
        claim: Claim,
        expected: Expected<Position>,
    ) -> Result<Claimed, CommitError> {
        let (end, ends) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let task = tokio::spawn(keep(claim, expected, tell, ends));
        let Some(revisions) = told.await.map_err(|_| gone())?? else {
            return Ok(Claimed::Overtaken);
        };
        let keeper = Self {
            end: Some(end),
            task,
        };
        Ok(Claimed::Held {
            keeper,
            revision: revisions.record,
        })
    }

    /// Ends the task without waiting for it: there is nothing to commit.
    #[cfg(feature = "http")]
    pub(crate) fn done(mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(End::Done);
        }
    }

    /// Ends the claim, and waits until it is done.
    pub(crate) async fn end(mut self, how: End) -> Result<(), CommitError> {
        if let Some(end) = self.end.take() {
            // A task that is gone says so below.
            let _ = end.send(how);
        }
        (&mut self.task).await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(End::Leave);
        }
    }
}

async fn keep(
    claim: Claim,
    expected: Expected<Position>,
    tell: oneshot::Sender<Result<Option<Revisions>, CommitError>>,
    ends: oneshot::Receiver<End>,
) -> Result<(), CommitError> {
    let store = &claim.records.store;
    let names = &claim.names;
    let taken = commit(store, claim.take(expected), Again::Unknown).await;
    let taken = taken.map(|commit| {
        let (record, run) = (commit.revision(&names.record), commit.revision(&names.run));
        record
            .zip(run)
            .map(|(record, run)| Revisions { record, run })
    });
    let held = taken.as_ref().ok().copied().flatten();
    let is_told = tell.send(taken).is_ok();
    let Some(revisions) = held else {
        return Ok(());
    };
    let (run, how) = if is_told {
        renew(&claim, revisions.run, ends).await
    } else {
        (Some(revisions.run), End::Free)
    };
    match how {
        End::Finish(answer) => {
            let batch = claim.finish(Batch::new(), revisions.record, &answer);
            let kept = commit(store, batch, Again::Any).await.map(drop);
            if let (Err(_), Some(run)) = (&kept, run) {
                // Who asks again need not wait for the run to expire. If it can't be said now, it does.
                let _ = commit(store, claim.leave(run), Again::Unknown).await;
            }
            kept
        }
        End::Free => given_up(commit(store, claim.free(revisions.record), Again::Any).await),
        End::Leave => match run {
            Some(run) => given_up(commit(store, claim.leave(run), Again::Any).await),
            None => Ok(()),
        },
        #[cfg(feature = "http")]
        End::Done => Ok(()),
    }
}

/// Renews the run until it is told how to end, and says which revision the run has then; none if it was lost.
async fn renew(
    claim: &Claim,
    run: Position,
    mut ends: oneshot::Receiver<End>,
) -> (Option<Position>, End) {
    let every = claim.records.options.renew_every();
    let soon = every / 4;
    let (mut run, mut next) = (Some(run), claim.renew(run));
    let (mut wait, mut is_new) = (every, true);
    loop {
        if let Ok(end) = timeout(wait, &mut ends).await {
            // Whoever began is gone before anything was begun.
            return (run, end.unwrap_or(End::Free));
        }
        if run.is_none() {
            continue;
        }
        match claim.records.store.commit(next.clone()).await {
            Ok(commit) => {
                run = commit.revision(&claim.names.run);
                if let Some(run) = run {
                    next = claim.renew(run);
                }
                // One that was found again has held for a while; the next comes sooner.
                wait = if is_new { every } else { soon };
                is_new = true;
            }
            // Its time was over. What was done may still be kept, unless somebody has taken over.
            Err(CommitError::Conflict(_)) => run = None,
            // It may have happened, so the same batch again. There is time for several tries.
            Err(_) => (wait, is_new) = (soon, false),
        }
    }
}

/// What somebody else has now is not ours to give up.
fn given_up<T>(committed: Result<T, CommitError>) -> Result<(), CommitError> {
    match committed {
        Err(CommitError::Conflict(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
