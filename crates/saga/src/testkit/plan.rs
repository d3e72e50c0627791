//! When what happens.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::case::{Case, Fault, Flaw};
use crate::Json;
use crate::error::{StepError, UndoError};

type Call<T, E> = BoxFuture<'static, Result<T, E>>;

/// A case under way, which all its workers share.
pub(crate) struct Plan {
    case: Case,
    pub(crate) flaw: Option<Flaw>,
    commits: AtomicUsize,
    calls: AtomicUsize,
    /// The worker that met the fault is to be killed or stopped.
    pub(super) struck: watch::Sender<Option<Struck>>,
    late: Mutex<Vec<BoxFuture<'static, ()>>>,
}

/// What happens to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Struck {
    Killed,
    Stopped,
    /// It was stopped, and goes on.
    Waking,
}

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtCommit {
    Pass,
    /// It does not happen before the worker goes on, if it does.
    StrikeBefore(Struck),
    /// It happens, and the worker does not hear of it.
    StrikeAfter(Struck),
    LoseReply,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("case", &self.case)
            .finish_non_exhaustive()
    }
}

impl Plan {
    pub(super) fn new(case: Case, flaw: Option<Flaw>) -> Self {
        Self {
            case,
            flaw,
            commits: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            struck: watch::Sender::new(None),
            late: Mutex::default(),
        }
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.commits.load(SeqCst), self.calls.load(SeqCst))
    }

    pub(super) fn at_commit(&self) -> AtCommit {
        let number = self.commits.fetch_add(1, SeqCst) + 1;
        match self.case.fault {
            Some(Fault::KillBefore(at)) if at == number => AtCommit::StrikeBefore(Struck::Killed),
            Some(Fault::StopBefore(at)) if at == number => AtCommit::StrikeBefore(Struck::Stopped),
            Some(Fault::KillAfter(at)) if at == number => AtCommit::StrikeAfter(Struck::Killed),
            Some(Fault::StopAfter(at)) if at == number => AtCommit::StrikeAfter(Struck::Stopped),
            Some(Fault::LostCommit(at)) if at == number => AtCommit::LoseReply,
            _ => AtCommit::Pass,
        }
    }

    /// A call of a step, as the case has it. It can be made again.
    pub(crate) fn step(
        &self,
        call: Call<Json, StepError>,
        again: impl Fn() -> Option<Call<Json, StepError>> + Send + 'static,
    ) -> Call<Json, StepError> {
        let refused = || StepError::failed("refused, as the case has it");
        let lost = || StepError::unknown("lost, as the case has it");
        self.call(call, again, refused, lost)
    }

    /// A call of an undo, as the case has it. It can be made again.
    pub(crate) fn undo(
        &self,
        call: Call<(), UndoError>,
        again: impl Fn() -> Option<Call<(), UndoError>> + Send + 'static,
    ) -> Call<(), UndoError> {
        let refused = || UndoError::give_up("refused, as the case has it");
        let lost = || UndoError::again("lost, as the case has it");
        self.call(call, again, refused, lost)
    }

    fn call<T: Send + 'static, E: Send + 'static>(
        &self,
        call: Call<T, E>,
        again: impl Fn() -> Option<Call<T, E>> + Send + 'static,
        refused: fn() -> E,
        lost: fn() -> E,
    ) -> Call<T, E> {
        let number = self.calls.fetch_add(1, SeqCst) + 1;
        if self.case.fails == Some(number) {
            return async move { Err(refused()) }.boxed();
        }
        match self.case.fault {
            Some(Fault::Lost(at)) if at == number => async move { Err(lost()) }.boxed(),
            Some(Fault::Refused(at)) if at == number => async move { Err(refused()) }.boxed(),
            Some(Fault::Panic(at)) if at == number => {
                // Without a word of the panic hook, as there are many of them.
                async { resume_unwind(Box::new("as the case has it")) }.boxed()
            }
            Some(Fault::LostReply(at)) if at == number => async move {
                // Whatever it was: nobody hears of it.
                let _ = call.await;
                Err(lost())
            }
            .boxed(),
            Some(Fault::Twice(at)) if at == number => async move {
                let first = call.await;
                match again() {
                    Some(again) => again.await,
                    None => first,
                }
            }
            .boxed(),
            Some(Fault::Late(at)) if at == number => {
                let late = call.map(drop).boxed();
                self.late
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(late);
                async move { Err(lost()) }.boxed()
            }
            Some(Fault::KillIn(at)) if at == number => {
                let struck = self.struck.clone();
                async move {
                    let _ = call.await;
                    struck.send_replace(Some(Struck::Killed));
                    std::future::pending().await
                }
                .boxed()
            }
            _ => call,
        }
    }

    /// Calls that arrive when all is over.
    pub(super) fn late(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
