//! What happens inside a pipeline, as one typed stream.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use backstay_core::breaker::Control;
use backstay_core::{Effect, Outcome};

use crate::error::Stop;
use crate::policy::Policy;

pub use backstay_core::breaker::{Cause, Transition};

/// Hears what happens in a pipeline or an admission.
///
/// It runs on the task that makes the call, never under a lock, so it must be quick: count, or hand over. A
/// panic in it is caught and changes nothing.
pub trait Listener: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Listener for F {
    fn on_event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The pipeline's or the admission's name.
    pub name: &'a str,
    /// What happened.
    pub kind: EventKind,
}

impl<'a> Event<'a> {
    /// An event made by hand, for the tests of a listener.
    pub const fn new(name: &'a str, kind: EventKind) -> Self {
        Self { name, kind }
    }
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A call waits for a place in the bulkhead.
    Queued,
    /// A call got its place after waiting.
    Unqueued {
        /// How long it waited.
        waited: Duration,
    },
    /// An attempt begins.
    AttemptStarted {
        /// 1 for the first.
        number: u32,
        /// Sent beside another attempt that is late.
        hedge: bool,
    },
    /// An attempt ended or was given up.
    AttemptEnded {
        /// 1 for the first.
        number: u32,
        /// Sent beside another attempt that was late.
        hedge: bool,
        /// How it ended.
        outcome: Outcome,
        /// What it may have done.
        effect: Effect,
        /// How long it took.
        took: Duration,
    },
    /// The call waits before it tries again.
    RetryScheduled {
        /// The number of the attempt to come.
        number: u32,
        /// How long it waits.
        wait: Duration,
    },
    /// A second attempt was due and was not sent.
    HedgeSuppressed {
        /// The policy that kept it back.
        by: Policy,
    },
    /// A policy refused a call before anything was sent.
    Rejected {
        /// Which.
        by: Policy,
    },
    /// A policy that only observes would have acted.
    Observed {
        /// Which.
        policy: Policy,
    },
    /// The call is over.
    CallEnded {
        /// Why no further attempt was made.
        stop: Stop,
        /// Whether its caller got a success.
        succeeded: bool,
        /// How many attempts were begun.
        attempts: u32,
        /// From the first poll to the end, queue and backoff included.
        took: Duration,
    },
    /// The caller dropped the call before its end.
    CallDropped {
        /// How many attempts were begun.
        attempts: u32,
        /// From the first poll.
        took: Duration,
    },
    /// The breaker changed its phase.
    Breaker(Transition),
    /// An operator took the breaker over, or gave it back.
    BreakerControl(Control),
    /// The options were replaced while running.
    Reconfigured,
    /// A server took a request in.
    Admitted {
        /// How long it waited in the queue.
        waited: Duration,
    },
    /// A server refused a request or gave it up in the queue.
    Shed {
        /// Why.
        reason: Shed,
    },
    /// A server's handler has ended or was given up.
    Handled {
        /// How.
        end: HandlerEnd,
        /// How long it ran.
        took: Duration,
    },
}

/// Why a server refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shed {
    /// No permit and no place in the queue.
    Full,
    /// It could not be finished in the time the caller gives.
    TooLate,
    /// Newer requests went first while the queue stood.
    Overtaken,
    /// Its time had passed when it arrived.
    Expired,
    /// Its caller left while it waited.
    CallerGone,
}

impl Shed {
    /// The name in events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TooLate => "too_late",
            Self::Overtaken => "overtaken",
            Self::Expired => "expired",
            Self::CallerGone => "caller_gone",
        }
    }
}

/// How a server's handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandlerEnd {
    /// It answered.
    Answered,
    /// Its time was up; it was dropped.
    TimedOut,
    /// Its caller left; it was dropped.
    CallerGone,
    /// It panicked.
    Panicked,
}

impl HandlerEnd {
    /// The name in events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::TimedOut => "timed_out",
            Self::CallerGone => "caller_gone",
            Self::Panicked => "panicked",
        }
    }
}

/// The listeners of one pipeline. None cost one branch.
#[derive(Default)]
pub(crate) struct Listeners(Vec<Box<dyn Listener>>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Listener) {
        self.0.push(Box::new(listener));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn emit(&self, name: &str, kind: EventKind) {
        if !self.0.is_empty() {
            self.tell(&Event::new(name, kind));
        }
    }

    #[cold]
    fn tell(&self, event: &Event<'_>) {
        for listener in &self.0 {
            // The listener's own state is its own business; ours is not touched by it.
            let _ = catch_unwind(AssertUnwindSafe(|| listener.on_event(event)));
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}
