use std::time::Duration;

use backstay_core::Invalid;
use backstay_core::backoff::Backoff;
use backstay_core::breaker::Breaker;
use backstay_core::budget::BudgetOptions;
use backstay_core::bulkhead::Bulkhead;
use backstay_core::hedge::Hedge;

use crate::policy::{Policies, Policy};
use crate::retry::Retry;

/// All options of a pipeline: what a builder collects and a configuration file says.
///
/// ```toml
/// deadline = "300ms"
/// bulkhead = { limit = 20, queue = 10 }
/// retry = { max_attempts = 3, backoff = { base = "20ms" } }
/// breaker = { failure_rate = 0.5, slow_after = "100ms" }
/// hedge = { quantile = 0.95 }
/// observe = ["breaker"]
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Settings {
    /// Total time of a call: queue, attempts and backoff. 1 ms..=24 h; default 10 s.
    #[cfg_attr(feature = "config", serde(with = "backstay_core::duration_text"))]
    pub deadline: Duration,
    /// Time of one attempt. 1 ms up to the deadline. Default: half of what is left while another attempt may
    /// follow, but not cut below 1 s; else all of it.
    #[cfg_attr(
        feature = "config",
        serde(
            with = "backstay_core::duration_text::option",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub attempt_timeout: Option<Duration>,
    /// How often to try, and how long to wait before each retry.
    pub retry: Retry,
    /// How much extra load retries, hedges and fallbacks may add together.
    pub budget: BudgetOptions,
    /// When to stop calling, and when to try again.
    pub breaker: Breaker,
    /// Most calls in progress. Default: no bulkhead.
    #[cfg_attr(feature = "config", serde(skip_serializing_if = "Option::is_none"))]
    pub bulkhead: Option<Bulkhead>,
    /// When to send a second attempt beside a slow one. Default: never.
    #[cfg_attr(feature = "config", serde(skip_serializing_if = "Option::is_none"))]
    pub hedge: Option<Hedge>,
    /// Policies to leave out. Default: none.
    #[cfg_attr(feature = "config", serde(skip_serializing_if = "Vec::is_empty"))]
    pub off: Vec<Policy>,
    /// Policies that only report what they would do. Default: none.
    #[cfg_attr(feature = "config", serde(skip_serializing_if = "Vec::is_empty"))]
    pub observe: Vec<Policy>,
}

/// Longer than nearly every request anybody waits for; a hung dependency still lets its caller go.
const DEADLINE: Duration = Duration::from_secs(10);

/// An attempt that may be repeated is not given up before this: what a network loses is sent again after up to 1 s
/// (the first packets of a connection, RFC 6298), and a slow answer is better than a second request.
const SHORTEST_SHARE: Duration = Duration::from_secs(1);

/// The time of an attempt that another may follow, out of what is left for the call.
pub(crate) fn first_share(left: Duration) -> Duration {
    (left / 2).max(left.min(SHORTEST_SHARE))
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deadline: DEADLINE,
            attempt_timeout: None,
            retry: Retry::default(),
            budget: BudgetOptions::default(),
            breaker: Breaker::default(),
            bulkhead: None,
            hedge: None,
            off: Vec::new(),
            observe: Vec::new(),
        }
    }
}

impl Settings {
    /// Refuses values out of range and combinations that can't work or are dangerous.
    pub fn validate(&self) -> Result<(), Invalid> {
        let milli = Duration::from_millis(1);
        let day = Duration::from_secs(24 * 3600);
        within("deadline", self.deadline, milli, day)?;
        self.retry.validate("retry")?;
        self.budget.validate("budget")?;
        self.breaker.validate("breaker")?;
        if let Some(bulkhead) = &self.bulkhead {
            bulkhead.validate("bulkhead")?;
        }
        if let Some(hedge) = &self.hedge {
            hedge.validate("hedge")?;
        }
        if let Some(timeout) = self.attempt_timeout {
            within("attempt_timeout", timeout, milli, day)?;
        }
        self.relations()
    }

    fn relations(&self) -> Result<(), Invalid> {
        // A policy that only observes bounds nothing.
        let mut on = self.on();
        for policy in &self.observe {
            on.set(*policy, false);
        }
        let deadline = on.has(Policy::Deadline).then_some(self.deadline);
        let timeout = self
            .attempt_timeout
            .filter(|_| on.has(Policy::AttemptTimeout));
        let bulkhead = self.bulkhead.as_ref().filter(|_| on.has(Policy::Bulkhead));
        let hedge = self.hedge.as_ref().filter(|_| on.has(Policy::Hedge));
        if hedge.is_some() && self.max_attempts() < 2 {
            let field = "retry.max_attempts";
            return Err(Invalid::new(
                field,
                self.max_attempts(),
                "must be at least 2 where there is a hedge: it counts as an attempt",
            ));
        }
        let limit = |name: &str, value: Duration| format!("{name} = {value:?}");
        if let (Some(timeout), Some(deadline)) = (timeout, deadline) {
            below(
                "attempt_timeout",
                timeout,
                deadline,
                true,
                &limit("deadline", deadline),
            )?;
        }
        if let Some(deadline) = deadline {
            if on.has(Policy::Retry) {
                // Nobody has to tune the default for a short deadline: what does not fit is not waited for.
                if *self.retry.waits() != Backoff::default() {
                    let wait = self.retry.waits().longest(1);
                    let name = "retry.backoff.base";
                    below(name, wait, deadline, false, &limit("deadline", deadline))?;
                }
                let least = self.retry.least_time();
                below(
                    "retry.min_time",
                    least,
                    deadline,
                    true,
                    &limit("deadline", deadline),
                )?;
            }
            if let Some(wait) = bulkhead.and_then(Bulkhead::longest_wait) {
                below(
                    "bulkhead.max_wait",
                    wait,
                    deadline,
                    true,
                    &limit("deadline", deadline),
                )?;
            }
        }
        let (name, longest) = match (timeout, deadline) {
            (Some(timeout), _) => ("attempt_timeout", timeout),
            (None, Some(deadline)) => ("deadline", deadline),
            (None, None) => return bounded(bulkhead),
        };
        if let Some(delay) = hedge.and_then(Hedge::fixed_delay) {
            let halved =
                timeout.is_none() && on.has(Policy::AttemptTimeout) && on.has(Policy::Retry);
            let (name, first) = match first_share(longest) {
                share if halved && share < longest => {
                    ("the first attempt's share of the deadline", share)
                }
                _ => (name, longest),
            };
            below("hedge.after", delay, first, false, &limit(name, first))?;
        }
        if let Some(slow) = self
            .breaker
            .slow_threshold()
            .filter(|_| on.has(Policy::Breaker))
        {
            below(
                "breaker.slow_after",
                slow,
                longest,
                false,
                &limit(name, longest),
            )?;
        }
        Ok(())
    }

    pub(crate) fn on(&self) -> Policies {
        let mut on: Policies = Policy::ALL.into_iter().collect();
        on.set(Policy::Bulkhead, self.bulkhead.is_some());
        on.set(Policy::Hedge, self.hedge.is_some());
        for policy in &self.off {
            on.set(*policy, false);
        }
        on
    }

    /// Most attempts of one call.
    pub(crate) fn max_attempts(&self) -> u32 {
        let on = self.on();
        if on.has(Policy::Retry) {
            self.retry.attempts()
        } else if on.has(Policy::Hedge) {
            2
        } else {
            1
        }
    }
}

/// Without a deadline and without an attempt timeout nothing bounds a queue.
fn bounded(bulkhead: Option<&Bulkhead>) -> Result<(), Invalid> {
    let waits_for_ever =
        bulkhead.is_some_and(|bulkhead| bulkhead.places() > 0 && bulkhead.longest_wait().is_none());
    if waits_for_ever {
        return Err(Invalid::new(
            "bulkhead.max_wait",
            "none",
            "must be set where there is a queue and no deadline: a wait needs a bound",
        ));
    }
    Ok(())
}

pub(crate) fn within(
    field: &str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        format!("{value:?}"),
        format!("must be in {least:?}..={most:?}"),
    ))
}

/// Refuses `value` unless it is below `bound`, or equal where that is allowed.
fn below(
    field: &str,
    value: Duration,
    bound: Duration,
    or_equal: bool,
    name: &str,
) -> Result<(), Invalid> {
    if value < bound || or_equal && value == bound {
        return Ok(());
    }
    let must = if or_equal {
        "must be at most"
    } else {
        "must be below"
    };
    Err(Invalid::new(
        field,
        format!("{value:?}"),
        format!("{must} {name}"),
    ))
}
