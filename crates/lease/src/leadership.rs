use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use backstay_store::Fence;

use crate::event::StepDown;
use crate::term::Term;

/// The right to act, for as long as it lasts. Cheap to clone; all clones are the same term.
///
/// It is renewed by a task of its own until the last clone is dropped, and then given back, once the work under it has
/// stopped. What is written under it carries its [`fence`](Self::fence): a process that was stopped can't know that
/// its time is over before it looks, and only the place where it writes can refuse it.
#[derive(Clone, Debug)]
#[must_use = "dropping it gives it up"]
pub struct Leadership(Arc<Held>);

#[derive(Debug)]
struct Held(Arc<Term>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.stop(StepDown::Released);
    }
}

/// The term has ended, and the work under it was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not led under token {token} any more: {reason}")]
#[non_exhaustive]
pub struct Lost {
    /// What was led.
    pub name: String,
    /// The token of the term.
    pub token: u64,
    /// Why it has ended.
    pub reason: StepDown,
}

impl Leadership {
    pub(crate) fn new(term: Arc<Term>) -> Self {
        Self(Arc::new(Held(term)))
    }

    fn term(&self) -> &Arc<Term> {
        &self.0.0
    }

    /// What it leads.
    pub fn name(&self) -> &str {
        &self.term().lease.name
    }

    /// Higher in each term than in all before, whoever led.
    pub fn token(&self) -> u64 {
        self.term().lease.token
    }

    /// Put it on every batch: it refuses what is written after somebody else has begun to lead.
    pub fn fence(&self) -> Fence {
        self.term().lease.fence()
    }

    /// Time until work under it is stopped, unless it is renewed; zero once it has ended.
    pub fn remaining(&self) -> Duration {
        self.term().remaining()
    }

    /// Does work while it leads; drops the work when it does not.
    ///
    /// The clock is read each time before the work runs on, so a process that was stopped does nothing more when it
    /// wakes too late. What the work has started elsewhere (tasks, threads) is not stopped, unless it runs
    /// under a clone of its own.
    ///
    /// The lease is kept until all such work has stopped. Work that blocks its thread can't be stopped: then the lease
    /// lapses, or the process is [aborted](crate::ElectionBuilder::abort_if_stuck). If it then returns without another
    /// `.await`, its output is returned: [`Overran`](crate::Event::Overran) says that it came too late.
    ///
    /// # Errors
    ///
    /// [`Lost`] when the term has ended. What the work has done until then is done.
    pub async fn run<W: Future>(&self, work: W) -> Result<W::Output, Lost> {
        let term = self.term();
        let lost = |reason| self.lost(reason);
        let _scope = term.enter().map_err(lost)?;
        let mut stopping = pin!(term.stopping());
        // Dropped before the scope.
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Some(reason) = term.has_ended() {
                return Poll::Ready(Err(lost(reason)));
            }
            if let Poll::Ready(reason) = stopping.as_mut().poll(cx) {
                return Poll::Ready(Err(lost(reason)));
            }
            work.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Whether it leads at this moment, by a look at the clock.
    ///
    /// # Errors
    ///
    /// [`Lost`] when the term has ended.
    pub fn check(&self) -> Result<(), Lost> {
        let ended = self.term().has_ended();
        ended.map_or(Ok(()), |reason| Err(self.lost(reason)))
    }

    /// Ends the term because somebody else leads, as the place says where it writes.
    #[cfg(feature = "schedule")]
    pub(crate) fn lose(&self) {
        self.term().stop(StepDown::Lost);
    }

    fn lost(&self, reason: StepDown) -> Lost {
        let lease = &self.term().lease;
        Lost {
            name: lease.name.clone(),
            token: lease.token,
            reason,
        }
    }

    /// Waits until it leads no more.
    pub async fn ended(&self) -> Lost {
        let reason = self.term().stopping().await;
        self.lost(reason)
    }

    /// Gives it up now: stops all work under it and returns when the lease was given back or is over.
    ///
    /// # Cancel safety
    ///
    /// Once polled it goes on by itself.
    pub async fn release(self) {
        let term = self.term().clone();
        term.stop(StepDown::Released);
        drop(self);
        term.over().await;
    }
}
