//! A run that is held: renewed while it is there, and put back when it has expired though its owner lives.

use std::mem::replace;

use backstay_store::{Batch, CommitError, Conflict, Position, Unavailable};

use crate::envelope::Record;
use crate::records::Claim;

/// What a look after the run has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The run lasts for its whole time from now on.
    Renewed,
    /// The store could not say, or the run has been held for a while: it has to be renewed soon.
    Unsure,
    /// The owner's own answer is kept: there is nothing to hold.
    Answered,
    /// The record is somebody else's, or gone.
    Lost,
}

/// A run and what is known of it.
#[derive(Debug)]
pub(crate) struct Held<'c> {
    pub(crate) claim: &'c Claim,
    record: Position,
    run: Option<Position>,
    /// The same batch until it is known what it has done.
    next: Batch,
    is_new: bool,
}

impl<'c> Held<'c> {
    pub(crate) fn new(claim: &'c Claim, record: Position, run: Position) -> Self {
        Self {
            claim,
            record,
            run: Some(run),
            next: claim.renew(run),
            is_new: true,
        }
    }

    /// Its revision; none once it is not the owner's.
    pub(crate) fn run(&self) -> Option<Position> {
        self.run
    }

    /// Holds the run for longer.
    pub(crate) async fn renew(&mut self) -> Hold {
        let hold = match self.claim.records.store.commit(self.next.clone()).await {
            Ok(commit) => match commit.revision(&self.claim.names.run) {
                // One that was found again has held for a while.
                Some(run) if replace(&mut self.is_new, true) => {
                    self.is_at(run);
                    Ok(Hold::Renewed)
                }
                Some(run) => {
                    self.is_at(run);
                    Ok(Hold::Unsure)
                }
                None => self.put_back().await,
            },
            Err(CommitError::Conflict(_)) => self.put_back().await,
            // It may have happened, so the same batch again.
            Err(_) => {
                self.is_new = false;
                Ok(Hold::Unsure)
            }
        };
        let hold = hold.unwrap_or(Hold::Unsure);
        if matches!(hold, Hold::Lost | Hold::Answered) {
            self.run = None;
        }
        hold
    }

    fn is_at(&mut self, run: Position) {
        self.run = Some(run);
        self.next = self.claim.renew(run);
    }

    /// The run is not as it was: it has expired, as after a step of the clock, or somebody else has come. The record
    /// says which, and is asked in the same commit.
    async fn put_back(&mut self) -> Result<Hold, Unavailable> {
        self.is_new = true;
        let (store, names) = (&self.claim.records.store, &self.claim.names);
        let run = store.get(&names.run).await?;
        if let Some(run) = run.filter(|run| run.value == self.claim.owner.to_string()) {
            self.is_at(run.revision);
            return Ok(Hold::Unsure);
        }
        match store.commit(self.claim.put_back(self.record)).await {
            Ok(commit) => {
                if let Some(run) = commit.revision(&names.run) {
                    self.is_at(run);
                }
                Ok(Hold::Renewed)
            }
            Err(CommitError::Conflict(Conflict::Key { key, .. })) if key == names.record => {
                let record = store.get(&names.record).await?;
                let record = record.and_then(|record| Record::read(&record.value).ok());
                let is_own = record.is_some_and(|record| self.claim.is_by(&record.owner));
                Ok(if is_own { Hold::Answered } else { Hold::Lost })
            }
            Err(_) => Ok(Hold::Unsure),
        }
    }
}
