use std::fmt;
use std::time::Duration;

use super::Pipeline;
use crate::policy::Policy;
use crate::run::LONGEST_PAUSE;
use crate::settings::Settings;

/// What a pipeline does to a call, and what it costs at worst. Print it.
#[derive(Clone, Debug)]
pub struct Explanation {
    name: String,
    settings: Settings,
}

impl Pipeline {
    /// The stack, and the worst case in attempts, time and load.
    pub fn explain(&self) -> Explanation {
        let mut settings = self.settings();
        // A shared budget has options of its own.
        settings.budget = self.budget().ledger().options();
        Explanation {
            name: self.name().to_owned(),
            settings,
        }
    }
}

impl Explanation {
    /// Most attempts of one call.
    pub fn max_attempts(&self) -> u32 {
        self.settings.max_attempts()
    }

    /// The longest that a call can take; none if nothing limits it.
    pub fn max_time(&self) -> Option<Duration> {
        let acts =
            |policy| self.settings.on().has(policy) && !self.settings.observe.contains(&policy);
        if acts(Policy::Deadline) {
            return Some(self.settings.deadline);
        }
        let attempts = self.max_attempts();
        let timeout = self
            .settings
            .attempt_timeout
            .filter(|_| acts(Policy::AttemptTimeout))?;
        let queue = match &self.settings.bulkhead {
            Some(bulkhead) if acts(Policy::Bulkhead) && bulkhead.places() > 0 => {
                bulkhead.longest_wait()?
            }
            _ => Duration::ZERO,
        };
        // A dependency may ask for a longer pause than any backoff, and no deadline cuts it.
        let waits = LONGEST_PAUSE * attempts.saturating_sub(1);
        Some(queue + timeout * attempts + waits)
    }

    /// Most load on the dependency, as a multiple of the calls, in the long run.
    pub fn max_load(&self) -> f64 {
        if self.settings.on().has(Policy::Budget)
            && !self.settings.observe.contains(&Policy::Budget)
        {
            (1.0 + self.settings.budget.share()).min(f64::from(self.max_attempts()))
        } else {
            f64::from(self.max_attempts())
        }
    }

    fn line(&self, policy: Policy) -> Option<String> {
        let settings = &self.settings;
        if !settings.on().has(policy) {
            return None;
        }
        Some(match policy {
            Policy::Deadline => format!(
                "{:?} in all; a caller's shorter one wins",
                settings.deadline
            ),
            Policy::Bulkhead => {
                let bulkhead = settings.bulkhead.as_ref()?;
                format!(
                    "{} calls in progress, {} waiting",
                    bulkhead.permits(),
                    bulkhead.places()
                )
            }
            Policy::Retry => format!(
                "{} attempts, waiting up to {:?} before the second; only what had no effect, unless the call is \
                 idempotent or keyed",
                settings.retry.attempts(),
                settings.retry.waits().longest(1)
            ),
            Policy::Budget => format!(
                "{:.1} % of the calls and {} retries a second as extra load",
                settings.budget.share() * 100.0,
                settings.budget.reserve()
            ),
            Policy::Hedge => match settings.hedge.as_ref()?.fixed_delay() {
                Some(delay) => format!("a second attempt after {delay:?}"),
                None => "a second attempt after the usual latency".to_owned(),
            },
            Policy::Breaker => "stops calling what fails, probes when it may be back".to_owned(),
            Policy::AttemptTimeout => match settings.attempt_timeout {
                Some(timeout) => format!("{timeout:?} for each"),
                None => "half of the time left while another may follow, but not cut below 1 s"
                    .to_owned(),
            },
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        for policy in Policy::ALL {
            if let Some(line) = self.line(policy) {
                let observes = self.settings.observe.contains(&policy);
                let only = if observes { " (observes only)" } else { "" };
                writeln!(f, "  {:<15} {line}{only}", policy.name())?;
            }
        }
        writeln!(f, "  at worst")?;
        writeln!(f, "    attempts      {}", self.max_attempts())?;
        match self.max_time() {
            Some(time) => writeln!(f, "    time          {time:?}")?,
            None => writeln!(f, "    time          unlimited")?,
        }
        let reserve = self.settings.budget.reserve();
        let on = self.settings.on();
        let plus = if on.has(Policy::Budget) && on.has(Policy::Retry) && self.max_attempts() > 1 {
            format!(", and {reserve} attempts a second more")
        } else {
            String::new()
        };
        write!(
            f,
            "    load          {:.2} times the calls{plus}",
            self.max_load()
        )
    }
}
