//! The task that holds a claim: it takes it, holds its run, and ends it.
//!
//! What it does is not stopped by whoever waits for it: a caller that hangs up while the answer is kept does not lose it.
//! Dropping the handle tells the task, which gives the run up; that never blocks. If the runtime ends with it, the run
//! expires.

use std::time::Duration;

use backstay_core::Effect;
use backstay_store::{Batch, CommitError, Expected, Position, Unavailable};
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::commit::{Again, commit};
use crate::hold::{Held, Hold};
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

/// How a claim ends, and whom to tell what came of it.
type Ending = (End, oneshot::Sender<Result<(), CommitError>>);

/// What came of a claim that was committed.
#[derive(Debug)]
pub(crate) enum Claimed {
    Held { keeper: Keeper, revision: Position },
    Overtaken,
}

/// The handle of the task. Dropped without an end it leaves the record open.
#[derive(Debug)]
pub(crate) struct Keeper {
    end: Option<oneshot::Sender<Ending>>,
    is_lost: watch::Receiver<bool>,
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
        let (lose, is_lost) = watch::channel(false);
        tokio::spawn(keep(claim, expected, tell, ends, lose));
        let Some(revisions) = told.await.map_err(|_| gone())?? else {
            return Ok(Claimed::Overtaken);
        };
        let keeper = Self {
            end: Some(end),
            is_lost,
        };
        Ok(Claimed::Held {
            keeper,
            revision: revisions.record,
        })
    }

    /// Waits until the claim is lost. A task that is gone holds nothing either.
    pub(crate) async fn lost(&self) {
        let _ = self.is_lost.clone().wait_for(|is_lost| *is_lost).await;
    }

    /// Ends the task without waiting for it: there is nothing to commit.
    #[cfg(feature = "http")]
    pub(crate) fn done(mut self) {
        drop(self.send(End::Done));
    }

    /// Ends the claim, and waits until it is done or was tried for a while.
    pub(crate) async fn end(mut self, how: End) -> Result<(), CommitError> {
        let Some(told) = self.send(how) else {
            return Err(gone());
        };
        told.await.unwrap_or_else(|_| Err(gone()))
    }

    fn send(&mut self, how: End) -> Option<oneshot::Receiver<Result<(), CommitError>>> {
        let (tell, told) = oneshot::channel();
        // Where the task is gone nobody will tell, which says so.
        let _ = self.end.take()?.send((how, tell));
        Some(told)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.send(End::Leave));
    }
}

async fn keep(
    claim: Claim,
    expected: Expected<Position>,
    tell: oneshot::Sender<Result<Option<Revisions>, CommitError>>,
    ends: oneshot::Receiver<Ending>,
    lose: watch::Sender<bool>,
) {
    let store = &claim.records.store;
    let names = &claim.names;
    // The store counts from the commit, which is later.
    let until = Instant::now() + claim.records.options.retention;
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
        return;
    };
    let mut held = Held::new(&claim, revisions.record, revisions.run);
    let ending = if is_told {
        hold(&mut held, until, ends, &lose).await
    } else {
        None
    };
    // Whoever began is gone before anything was begun.
    let (how, tell) = ending.unwrap_or_else(|| (End::Free, oneshot::channel().0));
    let ended = match how {
        End::Finish(answer) => {
            let batch = claim.finish(Batch::new(), revisions.record, &answer);
            return finish(&mut held, batch, tell).await;
        }
        End::Free => given_up(commit(store, claim.free(revisions.record), Again::Any).await),
        End::Leave => match held.run() {
            Some(run) => given_up(commit(store, claim.leave(run), Again::Any).await),
            None => Ok(()),
        },
        #[cfg(feature = "http")]
        End::Done => Ok(()),
    };
    // Nobody need wait for it.
    let _ = tell.send(ended);
}

/// Holds the run until it is told how to end, and tells once the claim is lost.
async fn hold(
    held: &mut Held<'_>,
    until: Instant,
    mut ends: oneshot::Receiver<Ending>,
    lose: &watch::Sender<bool>,
) -> Option<Ending> {
    let every = held.claim.records.options.renew_every();
    let mut wait = every;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if let Ok(ending) = timeout(wait.min(left), &mut ends).await {
            return ending.ok();
        }
        let is_over = Instant::now() >= until;
        let now = if is_over {
            // The record goes, and what is done is not kept any more: the run is not to outlive it.
            Hold::Lost
        } else {
            held.renew().await
        };
        match now {
            Hold::Renewed => wait = every,
            Hold::Unsure => wait = soon(every),
            Hold::Lost | Hold::Answered => {
                lose.send_replace(now == Hold::Lost);
                return ends.await.ok();
            }
        }
    }
}

/// There is time for several tries before the run expires.
fn soon(every: Duration) -> Duration {
    every / 4
}

/// Keeps the answer. Where the store is away the caller is told after some tries, and they go on without him: what he has
/// done is done, and must not be done again as long as it may be kept.
async fn finish(held: &mut Held<'_>, batch: Batch, tell: oneshot::Sender<Result<(), CommitError>>) {
    let claim = held.claim;
    let options = &claim.records.options;
    let store = &claim.records.store;
    let kept = commit(store, batch.clone(), Again::Any).await.map(drop);
    let goes_on = matches!(kept, Err(CommitError::Unavailable(_)));
    let is_kept = kept.is_ok();
    let _ = tell.send(kept.map_err(may_be_kept));
    if is_kept {
        return;
    }
    if goes_on {
        let until = Instant::now() + options.take_over_after;
        while Instant::now() < until {
            // It may have been kept, or somebody else has it now.
            if matches!(held.renew().await, Hold::Lost | Hold::Answered) {
                return;
            }
            sleep(soon(options.renew_every())).await;
            match store.commit(batch.clone()).await {
                Err(CommitError::Unavailable(_)) => {}
                Ok(_) => return,
                Err(_) => break,
            }
        }
    }
    if let Some(run) = held.run() {
        // Who asks again need not wait for the run to expire. If it can't be said now, it does.
        let _ = commit(store, claim.leave(run), Again::Unknown).await;
    }
}

/// What is tried on may happen yet, whatever the tries so far have done.
fn may_be_kept(error: CommitError) -> CommitError {
    match error {
        CommitError::Unavailable(error) if error.effect() != Effect::Unknown => {
            let later = Unavailable::new(error.cause(), Effect::Unknown);
            later.because(error).into()
        }
        error => error,
    }
}

/// What somebody else has now is not ours to give up.
fn given_up<T>(committed: Result<T, CommitError>) -> Result<(), CommitError> {
    match committed {
        Err(CommitError::Conflict(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
