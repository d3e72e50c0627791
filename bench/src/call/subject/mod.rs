//! Who is measured, and at what.
//!
//! Each module is one subject with its documented settings. To add one: write a module
//! with `runs()` and name it in [`all`].

mod bare;
mod failsafe;
mod ours;
mod recloser;
mod seatbelt;
mod tower;
mod tower_resilience;

use std::fmt;
use std::hint::black_box;
use std::time::Duration;

use super::drive;

/// A call's time in all. Only has to be there: no measured call waits.
const DEADLINE: Duration = Duration::from_secs(30);

/// One attempt's time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls in progress. Above the largest number of threads, so that none is refused.
const BULKHEAD: usize = 50;

/// Attempts of a call, the first one included.
const ATTEMPTS: u32 = 3;

/// Every run of every subject.
pub(crate) fn all() -> Vec<Run> {
    [
        bare::runs(),
        ours::runs(),
        seatbelt::runs(),
        tower_resilience::runs(),
        failsafe::runs(),
        recloser::runs(),
        tower::runs(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What is asked of a subject. Same group, same question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// The operation with nothing around it.
    BareCall,
    /// A breaker that lets the call pass and counts its success.
    BreakerClosed,
    /// A breaker that refuses the call.
    BreakerOpen,
    /// A retry that has nothing to do.
    RetryUnused,
    /// A timeout that does not fire.
    Timeout,
    /// A free place in a bulkhead, taken and given back.
    Bulkhead,
    /// A hedge whose primary answers at once.
    Hedge,
    /// Deadline > bulkhead > retry > breaker > attempt timeout, or the nearest to it.
    Stack,
}

impl Group {
    pub(crate) const ALL: [Self; 8] = [
        Self::BareCall,
        Self::BreakerClosed,
        Self::BreakerOpen,
        Self::RetryUnused,
        Self::Timeout,
        Self::Bulkhead,
        Self::Hedge,
        Self::Stack,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BareCall => "bare call",
            Self::BreakerClosed => "breaker closed",
            Self::BreakerOpen => "breaker open",
            Self::RetryUnused => "retry unused",
            Self::Timeout => "timeout",
            Self::Bulkhead => "bulkhead",
            Self::Hedge => "hedge, primary wins",
            Self::Stack => "stack",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One subject's answer to one group.
pub(crate) struct Run {
    pub(crate) subject: &'static str,
    pub(crate) group: Group,
    /// Whether several threads may share its handle.
    pub(crate) shared: bool,
    time: Box<dyn Fn(u64, usize) -> Duration>,
}

impl Run {
    /// A run on one thread: `build` makes the handle, `call` says whether a call ended
    /// as the group expects.
    fn alone<H: 'static>(
        subject: &'static str,
        group: Group,
        build: impl AsyncFn() -> H + 'static,
        call: impl AsyncFn(&mut H) -> bool + 'static,
    ) -> Self {
        Self {
            subject,
            group,
            shared: false,
            time: Box::new(move |calls, _| drive::alone(&build, &call, calls)),
        }
    }

    /// A run whose handle several threads may clone, all sharing one policy state.
    fn shared<H: Clone + Send + 'static>(
        subject: &'static str,
        group: Group,
        build: impl AsyncFn() -> H + 'static,
        call: impl AsyncFn(&mut H) -> bool + Sync + 'static,
    ) -> Self {
        Self {
            subject,
            group,
            shared: true,
            time: Box::new(move |calls, threads| drive::shared(&build, &call, calls, threads)),
        }
    }

    /// Times `calls` calls in total on `threads` threads, with fresh state.
    pub(crate) fn time(&self, calls: u64, threads: usize) -> Duration {
        (self.time)(calls, threads)
    }
}

/// What every subject protects: ready at its first poll, opaque to the optimizer.
async fn operation() -> Result<u64, Failed> {
    Ok(black_box(7))
}

/// What a breaker sees until it opens.
async fn failing_operation() -> Result<u64, Failed> {
    Err(black_box(Failed::Operation))
}

/// The operation's error, and a policy's where it lets the user name one.
#[derive(Clone, Debug)]
enum Failed {
    Operation,
    Policy,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operation => "the operation failed",
            Self::Policy => "a policy refused or ended the call",
        })
    }
}

impl std::error::Error for Failed {}
