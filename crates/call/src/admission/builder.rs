use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::Invalid;
use backstay_core::bulkhead::{Bulkhead, Gate};
use backstay_core::deadline::MAX;
use backstay_core::retry_share::RetryShare;
use http::{Method, Uri};

use super::{Admission, Exempt, Shared};
use crate::event::{Listener, Listeners};
use crate::settings::within;

/// Enough to keep a few cores busy while most handlers wait for something else.
const LIMIT: u32 = 64;

/// Eight service times of patience. A line as short as the limit fills by chance at three quarters of capacity;
/// a long one does no harm, because who can't be served in its time is refused at once.
const QUEUE_PER_REQUEST: u32 = 8;

/// Most places that a queue can have.
const MOST: u32 = 1_000_000;

/// Longer than most callers wait; shorter than what piles up unnoticed.
const DEADLINE: Duration = Duration::from_secs(10);

/// Collects the options of an [`Admission`].
#[must_use = "a builder builds nothing until `build`"]
pub struct AdmissionBuilder {
    name: String,
    limit: u32,
    queue: Option<u32>,
    deadline: Duration,
    exempt: Option<Exempt>,
    observe: bool,
    listeners: Listeners,
}

impl AdmissionBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: "server".to_owned(),
            limit: LIMIT,
            queue: None,
            deadline: DEADLINE,
            exempt: None,
            observe: false,
            listeners: Listeners::default(),
        }
    }

    /// The name in events and metrics, 1 to 100 bytes. Default: `server`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Most requests in their handlers at once, 1..=1,000,000. Default: 64.
    pub fn limit(mut self, requests: u32) -> Self {
        self.limit = requests;
        self
    }

    /// Most requests waiting for their handler, 0..=1,000,000. Default: eight times the limit.
    ///
    /// Places alone let nobody in: a request that can't be served in its time is refused at once.
    pub fn queue(mut self, places: u32) -> Self {
        self.queue = Some(places);
        self
    }

    /// Longest time of a request, queue and handler. 1 ms..=24 h; default 10 s.
    ///
    /// A caller that says it waits for less gets less.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// Lets requests pass untouched, such as those for health and metrics.
    ///
    /// They take no permit, have no deadline and are not counted. The URI is as the router shows it to its layers.
    pub fn exempt(
        mut self,
        passes: impl Fn(&Method, &Uri) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.exempt = Some(Box::new(passes));
        self
    }

    /// Refuses and ends nothing; only reports what it would have done.
    pub fn observe_only(mut self) -> Self {
        self.observe = true;
        self
    }

    /// Tells `listener` what happens. Each call adds one.
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.listeners.add(listener);
        self
    }

    /// Checks the options and makes the admission.
    ///
    /// # Errors
    ///
    /// Names the option, its value and the range.
    pub fn build(self) -> Result<Admission, Invalid> {
        if !(1..=100).contains(&self.name.len()) {
            let name = format!("{:?}", self.name);
            return Err(Invalid::new("name", name, "must have 1 to 100 bytes"));
        }
        within("deadline", self.deadline, Duration::from_millis(1), MAX)?;
        let queue = self
            .queue
            .unwrap_or(self.limit.saturating_mul(QUEUE_PER_REQUEST).min(MOST));
        let bulkhead = Bulkhead::limit(self.limit).queue(queue);
        bulkhead.validate("admission")?;
        let shared = Shared {
            name: self.name.into_boxed_str(),
            gate: Gate::new(bulkhead)?,
            retries: RetryShare::new(),
            deadline: self.deadline,
            exempt: self.exempt,
            observe: self.observe,
            listeners: self.listeners,
        };
        Ok(Admission {
            shared: Arc::new(shared),
        })
    }
}

impl fmt::Debug for AdmissionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmissionBuilder")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("queue", &self.queue)
            .field("deadline", &self.deadline)
            .field("observe", &self.observe)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}
