//! The deadline of the work that is being done now, handed down without an argument.
//!
//! A pipeline sets it around each attempt, `Admission` around each handler; a pipeline
//! that is called inside takes the shorter of it and its own. It follows the polling of one future: a task
//! that is spawned begins without one, so pass [`remaining`] to it where it works for the same caller.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use backstay_core::Moment;
use pin_project_lite::pin_project;

use crate::clock;

thread_local! {
    static DEADLINE: Cell<Moment> = const { Cell::new(Moment::NEVER) };
}

/// How long the work around has left; none if nobody set a deadline.
pub fn remaining() -> Option<Duration> {
    let deadline = current();
    (deadline != Moment::NEVER).then(|| deadline.since(clock::now()))
}

/// Gives everything that `work` does at most `time`, counted from the first poll.
///
/// It does not end `work`: it tells the pipelines inside when their answer stops being of use.
pub fn within<F: Future>(time: Duration, work: F) -> Within<F> {
    Within {
        work,
        time,
        deadline: None,
    }
}

pin_project! {
    /// Future of [`within`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Within<F> {
        #[pin]
        work: F,
        time: Duration,
        deadline: Option<Moment>,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let deadline = *this
            .deadline
            .get_or_insert_with(|| clock::now().plus(*this.time));
        let _scope = Scope::enter(deadline);
        this.work.poll(cx)
    }
}

/// The deadline around, [`Moment::NEVER`] if there is none.
#[inline]
pub(crate) fn current() -> Moment {
    // While a thread ends there is no caller to wait for.
    DEADLINE.try_with(Cell::get).unwrap_or(Moment::NEVER)
}

/// Sets the deadline while user code runs, and puts the one before back.
pub(crate) struct Scope {
    /// None where the one before was nearer and stayed.
    before: Option<Moment>,
}

impl Scope {
    #[inline]
    pub(crate) fn enter(deadline: Moment) -> Self {
        if deadline == Moment::NEVER {
            return Self { before: None };
        }
        let before = current();
        let nearer = deadline < before;
        if nearer {
            let _ = DEADLINE.try_with(|cell| cell.set(deadline));
        }
        Self {
            before: nearer.then_some(before),
        }
    }
}

impl Drop for Scope {
    #[inline]
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = DEADLINE.try_with(|cell| cell.set(before));
        }
    }
}
