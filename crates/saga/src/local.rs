//! A step in the user's own rows, committed together with its result.

use std::any::TypeId;
use std::error::Error;
use std::sync::Arc;

use backstay_store::{Batch, BatchId, Commit, CommitError, CommitWithError, Transactional};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::cx::{Cx, Purpose};
use crate::error::{StepEffect, StepError};
use crate::json::{Json, Unreadable};
use crate::machine::Illegal;

/// A commit that a step asks the instance for.
pub(crate) struct Local {
    pub(crate) step: usize,
    pub(crate) purpose: Purpose,
    pub(crate) attempt: u32,
    /// What the step comes to.
    pub(crate) output: TypeId,
    pub(crate) commit: CommitLocal,
    pub(crate) reply: Box<dyn FnOnce(Result<Json, StepError>) + Send>,
}

/// Commits rows together with what the plan makes of their output.
pub(crate) type CommitLocal = Box<
    dyn Fn(BatchId, Plan) -> BoxFuture<'static, Result<(Commit, Option<Json>), NotLocal>>
        + Send
        + Sync,
>;

/// The batch that says that the step is done, and what follows from it.
pub(crate) type Plan = Arc<dyn Fn(&Json) -> Result<Batch, Illegal> + Send + Sync>;

/// Why nothing was committed.
pub(crate) enum NotLocal {
    /// The rows could not be, or must not.
    Step(StepError),
    Store(CommitError),
}

/// Where an instance takes commits from.
pub(crate) type Locals = mpsc::UnboundedSender<Local>;

/// Why work was given up inside the transaction.
enum Failed {
    Work(StepError),
    Output(serde_json::Error),
    Illegal(Illegal),
}

impl From<StepError> for Failed {
    fn from(error: StepError) -> Self {
        Self::Work(error)
    }
}

impl<App, In> Cx<App, In> {
    /// Commits rows of your own together with the end of this step: both or neither, and once.
    ///
    /// For a step, or an undo, whose whole effect is in the store that the engine runs on; `store` is that one. `work` is what
    /// [`SqliteStore::commit_with`](backstay_store::SqliteStore::commit_with) takes and may run more than once; what its last run
    /// did counts. It answers the step's output, `()` in an undo. Nothing of the step should come after it. When such a step is undone
    /// as [`Attempt::Unknown`](crate::Attempt::Unknown), nothing of it is there.
    ///
    /// # Errors
    ///
    /// What the work says. Nothing was committed then, so what it leaves open counts as
    /// [`not_executed`](StepError::not_executed).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the step is done; the engine finds out.
    pub async fn commit_with<S, T>(
        &self,
        store: &S,
        work: impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, T, StepError> + Send + Sync + 'static,
    ) -> Result<T, StepError>
    where
        S: Transactional,
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let (store, work) = (store.clone(), Arc::new(work));
        let commit = move |id, plan| commit(store.clone(), work.clone(), id, plan).boxed();
        let local = Local {
            step: self.call().number,
            purpose: self.call().purpose,
            attempt: self.call().attempt,
            output: TypeId::of::<T>(),
            commit: Box::new(commit),
            reply: Box::new(|reply| {
                // The step may have been given up.
                let _ = tell.send(reply);
            }),
        };
        let gone = || StepError::unknown("the instance does not run here any more");
        self.call().locals.send(local).map_err(|_| gone())?;
        let output = told.await.map_err(|_| gone())??;
        let unreadable = |error: Unreadable| StepError::unknown(error);
        output.read().map_err(unreadable)
    }
}

async fn commit<S, T, W>(
    store: S,
    work: Arc<W>,
    id: BatchId,
    plan: Plan,
) -> Result<(Commit, Option<Json>), NotLocal>
where
    S: Transactional,
    T: Serialize + Send + 'static,
    W: for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, T, StepError> + Send + Sync + 'static,
{
    let made = move |output: T| -> Result<(Batch, Json), Failed> {
        let output = Json::write(&output).map_err(Failed::Output)?;
        Ok((plan(&output).map_err(Failed::Illegal)?, output))
    };
    let committed = store.commit_made(id, shared::<S, T, W>(work), made).await;
    let nothing =
        |error: Box<dyn Error + Send + Sync>| NotLocal::Step(StepError::not_executed(error));
    match committed {
        Ok(committed) => Ok((committed.commit, committed.output)),
        Err(CommitWithError::Commit(error)) => Err(NotLocal::Store(error)),
        Err(CommitWithError::Work(Failed::Work(mut error))) => {
            if error.effect == StepEffect::Unknown {
                error.effect = StepEffect::NotExecuted;
            }
            Err(NotLocal::Step(error))
        }
        Err(CommitWithError::Work(Failed::Output(error))) => {
            Err(NotLocal::Step(StepError::failed(error)))
        }
        Err(CommitWithError::Work(Failed::Illegal(error))) => Err(nothing(error.into())),
        // What it did in the transaction that it ended is there.
        Err(CommitWithError::Ended) => {
            let ended = StepError::unknown("the work ended the transaction");
            Err(NotLocal::Step(ended))
        }
        Err(CommitWithError::TookTooLong { limit }) => Err(nothing(
            format!("the work took longer than {limit:?}").into(),
        )),
        Err(_) => Err(nothing("the work panicked".into())),
    }
}

/// Work that can be done again.
fn shared<S, T, W>(
    work: Arc<W>,
) -> impl for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, T, StepError> + Send + Sync + 'static
where
    S: Transactional,
    T: 'static,
    W: for<'t> Fn(&'t S::Rows<'t>) -> S::Worked<'t, T, StepError> + Send + Sync + 'static,
{
    move |rows| work(rows)
}
