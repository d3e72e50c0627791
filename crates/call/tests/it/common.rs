//! What the tests share: an error that says its own class, a listener that writes down, a future that counts.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use backstay_call::{
    Backoff, BudgetOptions, Class, Classified, Effect, Event, EventKind, Listener, Pipeline,
    Pushback, Retry,
};

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An error that says its own class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fail(pub(crate) Class);

/// It may have happened.
pub(crate) const UNKNOWN: Fail = Fail(Class::Transient(Effect::Unknown));
/// It certainly did not happen.
pub(crate) const NOT_SENT: Fail = Fail(Class::Transient(Effect::NotExecuted));
/// Repeating won't mend it.
pub(crate) const PERMANENT: Fail = Fail(Class::Permanent(Effect::NotExecuted));
/// The caller's own fault.
pub(crate) const IGNORED: Fail = Fail(Class::Ignored(Effect::NotExecuted));

pub(crate) const fn overloaded(pushback: Pushback) -> Fail {
    Fail(Class::Overloaded {
        effect: Effect::NotExecuted,
        pushback,
    })
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Fail {}

/// A pipeline that asks each error for its class.
pub(crate) type ByError = Classified<fn(&Result<u32, Fail>) -> Class>;

pub(crate) fn by_error(pipeline: &Pipeline) -> ByError {
    pipeline.classified(|result| match result {
        Ok(_) => Class::Success,
        Err(Fail(class)) => *class,
    })
}

/// Retries after a fixed wait, so that times are exact.
pub(crate) fn every(wait: u64, attempts: u32) -> Retry {
    Retry::backoff(Backoff::fixed(ms(wait))).max_attempts(attempts)
}

/// A budget that is never in the way.
pub(crate) fn plenty() -> BudgetOptions {
    BudgetOptions::default().ratio(10.0).reserve_per_s(1000)
}

/// Nothing is left behind: no permit, no place, no token.
pub(crate) fn assert_idle(pipeline: &Pipeline) {
    let state = pipeline.state();
    if let Some(bulkhead) = state.bulkhead {
        assert_eq!((bulkhead.in_use, bulkhead.waiting), (0, 0), "{bulkhead:?}");
    }
    if let Some(budget) = state.budget {
        assert_eq!(budget.extra_in_progress, 0, "{budget:?}");
    }
}

/// Writes down what happens.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<EventKind>>>);

impl Recorder {
    pub(crate) fn events(&self) -> Vec<EventKind> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, which: impl Fn(&EventKind) -> bool) -> usize {
        self.0
            .lock()
            .unwrap()
            .iter()
            .filter(|kind| which(kind))
            .count()
    }

    pub(crate) fn heard(&self, kind: &EventKind) -> bool {
        self.0.lock().unwrap().contains(kind)
    }
}

impl Listener for Recorder {
    fn on_event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(event.kind);
    }
}

/// Counts how often the future in it is polled.
pub(crate) struct Counted<F> {
    inner: Pin<Box<F>>,
    polls: Arc<AtomicUsize>,
}

impl<F: Future> Counted<F> {
    pub(crate) fn new(inner: F, polls: &Arc<AtomicUsize>) -> Self {
        Self {
            inner: Box::pin(inner),
            polls: polls.clone(),
        }
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, SeqCst);
        self.inner.as_mut().poll(cx)
    }
}

/// A waker that counts how often it was woken.
#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

impl Woken {
    pub(crate) fn times(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls once by hand.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Counts those that are alive: one for each clone of the handle that `enter` gives.
#[derive(Clone, Default)]
pub(crate) struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

pub(crate) struct Alive(Gauge);

impl Gauge {
    pub(crate) fn enter(&self) -> Alive {
        let now = self.0.0.fetch_add(1, SeqCst) + 1;
        self.0.1.fetch_max(now, SeqCst);
        Alive(self.clone())
    }

    pub(crate) fn now(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    pub(crate) fn most(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, SeqCst);
    }
}

/// Panics without a message on the terminal.
pub(crate) fn blow() -> ! {
    std::panic::resume_unwind(Box::new("boom"))
}
