use std::sync::Arc;
use std::time::Duration;

use backstay_core::Invalid;
use backstay_core::breaker::Breaker;
use backstay_core::budget::BudgetOptions;
use backstay_core::bulkhead::Bulkhead;
use backstay_core::hedge::Hedge;

use super::Pipeline;
use crate::budget::Budget;
use crate::event::{Listener, Listeners};
use crate::inner::Inner;
use crate::policy::Policy;
use crate::retry::Retry;
use crate::settings::Settings;

/// Collects the options of a [`Pipeline`]. Naming a policy switches it on.
#[derive(Debug)]
#[must_use = "a builder builds nothing until `build`"]
pub struct PipelineBuilder {
    name: String,
    settings: Settings,
    /// What was left out by hand stays out, whatever else brings it along.
    without: Vec<Policy>,
    shared_budget: Option<Budget>,
    listeners: Listeners,
}

impl PipelineBuilder {
    pub(super) fn new(name: String, settings: Settings) -> Self {
        Self {
            name,
            settings,
            without: Vec::new(),
            shared_budget: None,
            listeners: Listeners::default(),
        }
    }

    /// Takes all options from `settings`, as read from a file.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Total time of a call: queue, attempts and backoff. 1 ms..=24 h; default 10 s.
    ///
    /// A shorter deadline of the work around wins.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.settings.deadline = time;
        self.with(Policy::Deadline)
    }

    /// Time of one attempt. From 1 ms up to the deadline.
    ///
    /// Default: half of what is left while another attempt may follow, but not cut below 1 s; else all that is
    /// left.
    pub fn attempt_timeout(mut self, time: Duration) -> Self {
        self.settings.attempt_timeout = Some(time);
        self.with(Policy::AttemptTimeout)
    }

    /// How often to try, and how long to wait before each retry. Default: three attempts, full jitter from 50 ms.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings.retry = retry;
        self.settings.off.retain(|off| *off != Policy::Budget);
        self.with(Policy::Retry)
    }

    /// How much load retries, hedges and fallbacks may add. Default: 10 % of the calls and 10 retries a second.
    pub fn budget(mut self, budget: BudgetOptions) -> Self {
        self.settings.budget = budget;
        self.with(Policy::Budget)
    }

    /// Draws on a budget that other pipelines draw on too; its options are set there.
    pub fn shared_budget(mut self, budget: &Budget) -> Self {
        self.shared_budget = Some(budget.clone());
        self.with(Policy::Budget)
    }

    /// When to stop calling, and when to try again. Default: see [`Breaker`].
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.settings.breaker = breaker;
        self.with(Policy::Breaker)
    }

    /// Most calls in progress. Default: no bulkhead.
    pub fn bulkhead(mut self, bulkhead: Bulkhead) -> Self {
        self.settings.bulkhead = Some(bulkhead);
        self.with(Policy::Bulkhead)
    }

    /// When to send a second attempt beside a slow one. Default: never.
    ///
    /// Only for calls that are idempotent or carry a key; draws on the budget, without its reserve.
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.settings.hedge = Some(hedge);
        self.settings.off.retain(|off| *off != Policy::Budget);
        self.with(Policy::Hedge)
    }

    /// Leaves a policy out, until a later line names it.
    pub fn without(mut self, policy: Policy) -> Self {
        self.without.push(policy);
        self
    }

    /// Lets a policy only report what it would do.
    pub fn observe_only(mut self, policy: Policy) -> Self {
        self.settings.observe.push(policy);
        self
    }

    /// Tells `listener` what happens. Each call adds one.
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.listeners.add(listener);
        self
    }

    /// Checks the options and makes the pipeline.
    ///
    /// # Errors
    ///
    /// Names the option, its value, and the range or the other option that it breaks.
    pub fn build(mut self) -> Result<Pipeline, Invalid> {
        let length = self.name.len();
        if !(1..=100).contains(&length) {
            return Err(Invalid::new(
                "name",
                format!("{:?}", self.name),
                "must have 1 to 100 bytes",
            ));
        }
        self.settings.off.append(&mut self.without);
        let name = self.name.into();
        let inner = Inner::new(name, self.settings, self.shared_budget, self.listeners)?;
        Ok(Pipeline {
            inner: Arc::new(inner),
        })
    }

    fn with(mut self, policy: Policy) -> Self {
        self.settings.off.retain(|off| *off != policy);
        self.without.retain(|off| *off != policy);
        self
    }
}
