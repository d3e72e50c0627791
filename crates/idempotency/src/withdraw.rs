//! Tombstones: a key whose work is not to be done any more.

use std::time::Duration;

use backstay_core::Effect;
use backstay_store::{Batch, CommitError, Expected, Owner, Position, Unavailable};

use crate::commit::{Again, commit};
use crate::envelope::{Record, Standing, tombstone};
use crate::key::Names;
use crate::options::RETRY_AFTER;
use crate::records::{ROUNDS, Records};
use crate::{Idempotency, Kept, KeptError, Key};

/// What was known of a key's work when the key was withdrawn: what there is to undo.
#[derive(Clone, Debug)]
pub enum Withdrawn {
    /// It was done, and this was the answer.
    Done(Kept),
    /// Nothing is kept of it: it was not done, was refused, or was done longer ago than the retention.
    Unseen,
    /// It was begun, and how it ended is not known: its effects elsewhere may be there, or may come yet.
    ///
    /// What is committed with the answer, by [`run`](Idempotency::run) or [`answer_in`](crate::Guard::answer_in), is not
    /// there and will not be.
    Unknown,
}

impl Withdrawn {
    /// What was done under the key, for somebody who is refused by the tombstone.
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::Unseen => Effect::NotExecuted,
            // It may be undone by now, or not yet.
            Self::Done(_) | Self::Unknown => Effect::Unknown,
        }
    }
}

/// Why a key was not withdrawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WithdrawError {
    /// Somebody is at its work.
    #[error("the work of this key is running; ask again in {retry_after:?}")]
    Running {
        /// When to ask again.
        retry_after: Duration,
    },
    /// What is kept can't be read.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// Others came and went all the time.
    #[error("others were faster every time")]
    Contended,
    /// The store can't say, or can't commit. Asking again settles it.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<Unavailable> for WithdrawError {
    fn from(error: Unavailable) -> Self {
        Self::Commit(error.into())
    }
}

impl<S> Idempotency<S> {
    /// Takes a key out of use: whoever comes with it later is refused, and nothing runs.
    ///
    /// One commit decides between this and the work of the key. The tombstone stays for the retention, counted from now.
    /// Withdrawing again gives the same. Work whose owner was silent for the take-over time is taken over: it can't
    /// answer any more, and [`Guard::lost`](crate::Guard::lost) says so.
    ///
    /// ```
    /// use backstay_idempotency::{BeginError, Fingerprint, Idempotency, Withdrawn};
    /// # use backstay_store::MemoryStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let once = Idempotency::builder(MemoryStore::new().into_store()).allow_volatile().build()?;
    /// match once.withdraw("charge-7").await? {
    ///     Withdrawn::Done(charge) => println!("refund {}", charge.answer::<String>()?),
    ///     Withdrawn::Unseen => println!("nothing to undo"),
    ///     Withdrawn::Unknown => println!("refund it if it is there"),
    /// }
    /// let late = once.begin("charge-7", &Fingerprint::of(&"tea")?).await;
    /// assert!(matches!(late, Err(BeginError::Withdrawn { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`WithdrawError::Running`] while an owner that lives is at the work.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the key is withdrawn. Withdrawing again settles it.
    pub async fn withdraw(&self, key: impl Into<Key>) -> Result<Withdrawn, WithdrawError> {
        self.records.withdraw(&key.into().names()).await
    }
}

/// What somebody who withdraws a key has seen of it, and what it comes to if that is still so.
#[derive(Clone, Debug)]
pub(crate) struct Withdrawal {
    pub(crate) was: Withdrawn,
    names: Names,
    expected: Expected<Position>,
    /// None if there is one already.
    tombstone: Option<Vec<u8>>,
}

impl Withdrawal {
    /// Adds the tombstone to a batch, which is refused if anything has changed under the key.
    pub(crate) fn add_to(&self, batch: Batch, records: &Records) -> Batch {
        let Some(tombstone) = self.tombstone.clone() else {
            return batch.expecting(&self.names.record, self.expected);
        };
        let (record, put) = records.finished(&self.names, tombstone, self.expected);
        batch
            .delete(&self.names.run, Expected::Absent)
            .put(record, put)
    }
}

impl Records {
    pub(crate) async fn withdraw(&self, names: &Names) -> Result<Withdrawn, WithdrawError> {
        for _ in 0..ROUNDS {
            let withdrawal = self.withdrawal(names).await?;
            if withdrawal.tombstone.is_none() {
                return Ok(withdrawal.was);
            }
            let batch = withdrawal.add_to(Batch::new(), self);
            match commit(&self.store, batch, Again::Unknown).await {
                Ok(_) => return Ok(withdrawal.was),
                Err(CommitError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(WithdrawError::Contended)
    }

    /// What withdrawing a key comes to. The commit decides; reads only say what to expect.
    pub(crate) async fn withdrawal(&self, names: &Names) -> Result<Withdrawal, WithdrawError> {
        let record = self.store.get(&names.record).await?;
        let run = self.store.get(&names.run).await?;
        let (expected, standing) = match &record {
            Some(entry) => {
                let standing = Record::read(&entry.value)?.standing;
                (entry.revision.into(), Some(standing))
            }
            None => (Expected::Absent, None),
        };
        let is_there = matches!(standing, Some(Standing::Withdrawn(_)));
        let was = match standing {
            Some(Standing::Withdrawn(was)) => was,
            Some(Standing::Asked {
                answer: Some(kept), ..
            }) => Withdrawn::Done(kept),
            _ if run.is_some() => {
                return Err(WithdrawError::Running {
                    retry_after: RETRY_AFTER,
                });
            }
            Some(_) => Withdrawn::Unknown,
            None => Withdrawn::Unseen,
        };
        // An owner of its own: whoever finds it under his key knows that he has lost it.
        let tombstone = (!is_there).then(|| tombstone(Owner::new(), &was));
        Ok(Withdrawal {
            was,
            names: names.clone(),
            expected,
            tombstone,
        })
    }
}
