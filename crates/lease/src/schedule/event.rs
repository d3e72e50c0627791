use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use backstay_store::{CommitError, Timestamp};

/// What an error of a job's work becomes.
pub type WorkError = Arc<dyn Error + Send + Sync>;

/// What happens to one job of a schedule.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// The schedule.
    pub schedule: String,
    /// The job.
    pub job: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// It was not known to the store, or had another cron text or zone. Nothing before now is due.
    Planned,
    /// Its work begins: the firing is in the store.
    Started {
        /// When it was due.
        due: Timestamp,
        /// By the wall clock.
        at: Timestamp,
    },
    /// Its work has ended without an error, and the store knows.
    Done {
        /// When it was due.
        due: Timestamp,
    },
    /// Its work has ended with an error, and is not run again.
    Failed {
        /// When it was due.
        due: Timestamp,
        /// What it said.
        error: WorkError,
    },
    /// Its work has panicked, and is not run again.
    Panicked {
        /// When it was due.
        due: Timestamp,
    },
    /// Firings were left out, as the job's policy says.
    Skipped {
        /// How many; 1,000 for more.
        count: u32,
        /// When the last of them was due.
        last: Timestamp,
    },
    /// A leader began a firing and its end is not known. It is run again only if the job [says so](super::Job::repeat_interrupted).
    Interrupted {
        /// When it was due.
        due: Timestamp,
    },
    /// The store could not be asked, or did not take what it was told. It is tried again; meanwhile the job does not run.
    Stalled {
        /// What the store said.
        error: Arc<CommitError>,
    },
    /// What the store has of the job can't be read. It is looked at again; meanwhile the job does not run.
    Unreadable {
        /// What is wrong with it.
        error: WorkError,
    },
    /// The clock is more than a minute behind what was decided before. Until it gets there the job does not run.
    ClockBehind {
        /// Until when all is decided.
        through: Timestamp,
        /// What the clock shows.
        now: Timestamp,
    },
    /// No time is found at which it could be due. It is looked for again in a day.
    Finished,
}

type Hear = dyn Fn(&Event) + Send + Sync;

/// Who hears of events, if anybody does.
#[derive(Clone, Default)]
pub(super) struct Listener(Option<Arc<Hear>>);

impl Listener {
    pub(super) fn new(hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    pub(super) fn hear(&self, event: impl FnOnce() -> Event) {
        if let Some(hear) = &self.0 {
            // A job must not stop because of who listens.
            let _ = catch_unwind(AssertUnwindSafe(|| hear(&event())));
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}
