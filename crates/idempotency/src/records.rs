//! What is kept of a key, and how it changes.
//!
//! Two store keys: the **record**, with the fingerprint and, once there is one, the answer; and the **run**, which is
//! there while somebody works, and expires when nobody renews it. Each claim and each take-over writes the record anew,
//! so its revision is the epoch: whoever expects an older one is refused.

use backstay_core::Effect;
use backstay_store::{
    Batch, Cause, CommitError, Entry, Expected, Owner, Position, Put, Store, Unavailable,
};
use serde_json::value::RawValue;

use crate::envelope::{Record, Standing, written};
use crate::keeper::{Claimed, Keeper};
use crate::key::Names;
use crate::options::Options;
use crate::{BeginError, Fingerprint, Guard, Kept, KeptError, Withdrawn};

/// Others come and go so often between looking and claiming; then it is told.
pub(crate) const ROUNDS: u32 = 16;

/// Where records are, and how long they stay.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    pub(crate) store: Store,
    pub(crate) options: Options,
}

/// What is there when somebody looks.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Nobody works on it: it may be claimed if the record is still as expected.
    Free(Expected<Position>),
    Running,
    Finished(Kept),
}

/// What came of trying to begin.
#[derive(Debug)]
pub(crate) enum Begin {
    Claimed(Guard),
    Running,
    Finished(Kept),
}

/// Why what is there can't be used.
#[derive(Debug)]
pub(crate) enum LookError {
    Mismatch,
    Withdrawn(Withdrawn),
    Kept(KeptError),
    Unavailable(Unavailable),
}

impl Records {
    /// Claims the key, or says what is in the way. The commit decides; reads only say what to expect.
    pub(crate) async fn begin(
        &self,
        names: &Names,
        fingerprint: &Fingerprint,
    ) -> Result<Begin, BeginError> {
        let mut expected = Expected::Absent;
        for _ in 0..ROUNDS {
            let owner = Owner::new();
            let claim = Claim {
                records: self.clone(),
                names: names.clone(),
                fingerprint: fingerprint.clone(),
                owner,
            };
            match Keeper::start(claim.clone(), expected).await {
                Ok(Claimed::Held { keeper, revision }) => {
                    return Ok(Begin::Claimed(Guard::new(claim, revision, keeper)));
                }
                // A lost answer was found again, and by then somebody else had come.
                Ok(Claimed::Overtaken) | Err(CommitError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            match self.look(names, fingerprint).await? {
                Seen::Free(now) => expected = now,
                Seen::Running => return Ok(Begin::Running),
                Seen::Finished(kept) => return Ok(Begin::Finished(kept)),
            }
        }
        Err(BeginError::Contended)
    }

    /// The record goes first: if it changes after that, whoever claims by it is refused.
    pub(crate) async fn look(
        &self,
        names: &Names,
        fingerprint: &Fingerprint,
    ) -> Result<Seen, LookError> {
        let unavailable = LookError::Unavailable;
        let record = self.store.get(&names.record).await.map_err(unavailable)?;
        let run = self.store.get(&names.run).await.map_err(unavailable)?;
        seen(record.as_ref(), run.is_some(), fingerprint)
    }

    /// The change that keeps an answer or a tombstone under a key, if the record is still as expected.
    pub(crate) fn finished(
        &self,
        names: &Names,
        bytes: Vec<u8>,
        expected: Expected<Position>,
    ) -> (String, Put) {
        let put = Put::new(bytes).expecting(expected);
        (
            names.record.clone(),
            put.expires_after(self.options.retention),
        )
    }
}

fn seen(
    record: Option<&Entry>,
    is_running: bool,
    fingerprint: &Fingerprint,
) -> Result<Seen, LookError> {
    let Some(entry) = record else {
        // A record that has expired before its run: what was asked for is not known any more.
        return Ok(if is_running {
            Seen::Running
        } else {
            Seen::Free(Expected::Absent)
        });
    };
    let record = Record::read(&entry.value).map_err(LookError::Kept)?;
    let (asked, answer) = match record.standing {
        Standing::Asked {
            fingerprint,
            answer,
        } => (fingerprint, answer),
        Standing::Withdrawn(was) => return Err(LookError::Withdrawn(was)),
    };
    if asked != fingerprint.as_str() {
        return Err(LookError::Mismatch);
    }
    Ok(match answer {
        Some(kept) => Seen::Finished(kept),
        None if is_running => Seen::Running,
        None => Seen::Free(Expected::Exactly(entry.revision)),
    })
}

/// One try of somebody to work on a key.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) records: Records,
    pub(crate) names: Names,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) owner: Owner,
}

impl Claim {
    /// Takes the key, if nobody runs and the record is as expected.
    pub(crate) fn take(&self, expected: Expected<Position>) -> Batch {
        let record = Put::new(written(&self.fingerprint, self.owner, None))
            .expecting(expected)
            .expires_after(self.records.options.retention);
        Batch::new()
            .put(&self.names.run, self.run(Expected::Absent))
            .put(&self.names.record, record)
    }

    /// Holds the run for longer.
    pub(crate) fn renew(&self, run: Position) -> Batch {
        Batch::new().put(&self.names.run, self.run(run.into()))
    }

    /// Takes the run again after it has expired, if the record has not changed since it was claimed.
    pub(crate) fn put_back(&self, record: Position) -> Batch {
        Batch::new()
            .expecting(&self.names.record, record)
            .put(&self.names.run, self.run(Expected::Absent))
    }

    /// Whether a record is this claim's own.
    pub(crate) fn is_by(&self, owner: &str) -> bool {
        self.owner.to_string() == owner
    }

    fn run(&self, expected: Expected<Position>) -> Put {
        Put::new(self.owner.to_string())
            .expecting(expected)
            .expires_after(self.records.options.take_over_after)
    }

    /// Adds to a batch that the work is done. A run that has changed since it was claimed is no hindrance: only a
    /// take-over is one, and that has changed the record.
    pub(crate) fn finish(&self, batch: Batch, revision: Position, answer: &RawValue) -> Batch {
        let bytes = written(&self.fingerprint, self.owner, Some(answer));
        let (record, put) = self.records.finished(&self.names, bytes, revision.into());
        batch
            .put(record, put)
            .delete(&self.names.run, Expected::Any)
    }

    /// Takes everything back: nothing has happened.
    pub(crate) fn free(&self, revision: Position) -> Batch {
        Batch::new()
            .delete(&self.names.record, revision)
            .delete(&self.names.run, Expected::Any)
    }

    /// Gives up the run only. What has happened is not known, so the fingerprint stays.
    pub(crate) fn leave(&self, run: Position) -> Batch {
        Batch::new().delete(&self.names.run, run)
    }
}

/// The runtime has gone, and what it was doing with it.
pub(crate) fn gone() -> CommitError {
    Unavailable::new(Cause::Closed, Effect::Unknown).into()
}
