use backstay_store::{Batch, CommitError, Conflict, Position};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::keeper::{End, Keeper};
use crate::records::Claim;

/// The right to do the work of a key, from [`begin`](crate::Idempotency::begin).
///
/// It renews itself while it is held. End it by [`finish`](Self::finish) with the answer, [`free`](Self::free) if
/// nothing has happened, or [`leave_open`](Self::leave_open) if that is not known. Dropping it, also by a panic, leaves
/// it open in the background.
#[derive(Debug)]
#[must_use = "dropping it leaves the record open: the next try runs again"]
pub struct Guard {
    claim: Claim,
    revision: Position,
    keeper: Keeper,
}

/// Why an answer was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// Somebody else has taken over or withdrawn the key, because the run was not renewed in time. Theirs is what counts.
    #[error("somebody else has taken over or withdrawn the key")]
    TakenOver,
    /// The record is gone: the work took longer than the retention, or somebody else has taken over and freed the key.
    #[error("the record is gone: its retention is over, or somebody else has freed the key")]
    Gone,
    /// The answer can't be written as JSON.
    #[error("the answer can't be written as JSON")]
    Answer(#[source] serde_json::Error),
    /// The store could not keep it so far.
    ///
    /// Where it is away, and nothing else is wrong, it is tried on in the background for as long as the take-over time,
    /// and the key is not given up meanwhile: it may be kept yet. After that, or if the process ends, the record is open.
    #[error(transparent)]
    Commit(CommitError),
}

impl Guard {
    pub(crate) fn new(claim: Claim, revision: Position, keeper: Keeper) -> Self {
        Self {
            claim,
            revision,
            keeper,
        }
    }

    /// Keeps the answer: whoever asks again gets it.
    ///
    /// # Cancel safety
    ///
    /// Once polled the answer is kept also when the future is dropped.
    ///
    /// # Errors
    ///
    /// [`FinishError`], after about a second of tries where the store is away.
    pub async fn finish(self, answer: &impl Serialize) -> Result<(), FinishError> {
        let answer = to_raw_value(answer).map_err(FinishError::Answer)?;
        self.finish_raw(answer).await
    }

    pub(crate) async fn finish_raw(self, answer: Box<RawValue>) -> Result<(), FinishError> {
        let ended = self.keeper.end(End::Finish(answer)).await;
        ended.map_err(|error| match error {
            CommitError::Conflict(Conflict::Key { actual: None, .. }) => FinishError::Gone,
            CommitError::Conflict(_) => FinishError::TakenOver,
            error => FinishError::Commit(error),
        })
    }

    /// Waits until the claim is lost, and stop the work then: somebody else has taken over and may be at it, or has
    /// withdrawn the key, or the work has taken longer than the retention, so that its answer can't be kept.
    ///
    /// It comes with the next renewal, a third of the take-over time later at most, if the store answers. A process that
    /// was stopped hears of it when it goes on; until then both may run.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn lost(&self) {
        self.keeper.lost().await;
    }

    /// Takes the claim back: nothing has happened, and the key is as good as new.
    pub async fn free(self) -> Result<(), CommitError> {
        self.keeper.end(End::Free).await
    }

    /// Lets the next try run again, because what has happened is not known. Another request under the key is refused.
    pub async fn leave_open(self) -> Result<(), CommitError> {
        self.keeper.end(End::Leave).await
    }

    /// Adds the answer to a batch of your own: what it changes, its rows and the answer are there together or not at all.
    ///
    /// The batch is refused with a conflict when somebody else has taken over or withdrawn the key. Once it is committed, drop the guard.
    ///
    /// ```
    /// # use backstay_idempotency::{Begun, Fingerprint, Idempotency};
    /// # use backstay_store::{Batch, Event, MemoryStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryStore::new().into_store();
    /// # let once = Idempotency::builder(store.clone()).allow_volatile().build()?;
    /// if let Begun::Claimed(guard) = once.begin("order-7", &Fingerprint::of(&"tea")?).await? {
    ///     let batch = Batch::new().append("order-7", Event::new("placed", "tea"));
    ///     store.commit(guard.answer_in(batch, &"placed")?).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the answer can't be written as JSON.
    pub fn answer_in(
        &self,
        batch: Batch,
        answer: &impl Serialize,
    ) -> Result<Batch, serde_json::Error> {
        let answer = to_raw_value(answer)?;
        Ok(self.claim.finish(batch, self.revision, &answer))
    }

    #[cfg(feature = "http")]
    pub(crate) fn done(self) {
        self.keeper.done();
    }

    #[cfg(feature = "http")]
    pub(crate) fn claim(&self) -> (&Claim, Position) {
        (&self.claim, self.revision)
    }
}
