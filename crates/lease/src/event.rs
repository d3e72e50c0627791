use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use backstay_store::Unavailable;

/// What happens to one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The lease's home could not be asked for the lease, or did not answer in time. It is asked again.
    CampaignFailed {
        /// What it said; none if it said nothing in time.
        error: Option<Unavailable>,
    },
    /// It leads.
    Elected {
        /// Its token.
        token: u64,
        /// How long the lease lasts, by its own clock.
        valid_for: Duration,
    },
    /// A renewal failed, or had no answer in time. It is tried again while there is time.
    RenewalFailed {
        /// Its token.
        token: u64,
        /// What the lease's home said; none if it said nothing in time.
        error: Option<Unavailable>,
        /// How long it may still lead.
        left: Duration,
    },
    /// It leads no more, and its work is being stopped.
    SteppedDown {
        /// Its token.
        token: u64,
        /// Why.
        reason: StepDown,
    },
    /// Its work had not stopped when the lease was over: somebody else may lead.
    ///
    /// It is told when it is noticed: where the work blocks the runtime's only thread, after the work.
    Overran {
        /// Its token.
        token: u64,
    },
    /// Its work has stopped, and the lease was given back or is over.
    Ended {
        /// Its token.
        token: u64,
        /// Whether the lease's home has said that it took the lease back.
        released: bool,
    },
}

/// Why a leader leads no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepDown {
    /// Its work is done, or nobody wants it any more.
    Released,
    /// It was told to.
    Resigned,
    /// It could not renew the lease in time, or was itself stopped for too long.
    TimeUp,
    /// The lease's home says that it is not the holder.
    Lost,
}

impl fmt::Display for StepDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Released => "it was given up",
            Self::Resigned => "it resigned",
            Self::TimeUp => "its time was up",
            Self::Lost => "it was lost",
        })
    }
}

type Hear = dyn Fn(&Event) + Send + Sync;

/// Who hears of events, if anybody does.
#[derive(Clone, Default)]
pub(crate) struct Listener(Option<Arc<Hear>>);

impl Listener {
    pub(crate) fn new(hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    pub(crate) fn hear(&self, event: &Event) {
        if let Some(hear) = &self.0 {
            // A term must not end half way because of who listens.
            let _ = catch_unwind(AssertUnwindSafe(|| hear(event)));
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}
