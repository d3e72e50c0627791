use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::policy::{Policies, Policy};
use crate::settings::Settings;

/// What a call needs to know of the settings before anything goes wrong, in three words.
///
/// A call copies it at its start and keeps to it. A call that starts while the settings change may see new
/// values beside old ones; each of them is valid, and shorter ones win.
#[derive(Debug)]
pub(crate) struct SharedPlan {
    /// Policies that are on, policies that observe, most attempts, whether the start's time is needed, and the
    /// least time of an attempt in microseconds.
    word: AtomicU64,
    deadline: AtomicU64,
    attempt_timeout: AtomicU64,
}

/// The plan of one call. Times in nanoseconds, `u64::MAX` for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) on: Policies,
    pub(crate) observe: Policies,
    pub(crate) max_attempts: u32,
    pub(crate) deadline: u64,
    pub(crate) attempt_timeout: u64,
    /// Starts no attempt with less time left.
    pub(crate) min_time: Duration,
    /// Something needs to know when the call began. A breaker that counts no slow calls does not.
    pub(crate) needs_time: bool,
}

impl SharedPlan {
    pub(crate) fn new(settings: &Settings) -> Self {
        let plan = Self {
            word: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            attempt_timeout: AtomicU64::new(0),
        };
        plan.set(settings);
        plan
    }

    pub(crate) fn set(&self, settings: &Settings) {
        let on = settings.on();
        let observe: Policies = settings.observe.iter().copied().collect();
        let max_attempts = settings.max_attempts();
        let mut timeless: Policies = [Policy::Breaker, Policy::AttemptTimeout]
            .into_iter()
            .collect();
        timeless.set(Policy::Breaker, settings.breaker.slow_threshold().is_none());
        timeless.set(Policy::AttemptTimeout, settings.attempt_timeout.is_none());
        let needs_time = on.bits() & !timeless.bits() != 0;
        let min_time = u32::try_from(settings.retry.least_time().as_micros()).unwrap_or(u32::MAX);
        let word = u64::from(on.bits()) | u64::from(observe.bits()) << 8;
        let word = word | u64::from(needs_time) << 24 | u64::from(min_time) << 32;
        self.deadline.store(nanos(settings.deadline), Relaxed);
        self.attempt_timeout
            .store(settings.attempt_timeout.map_or(u64::MAX, nanos), Relaxed);
        self.word
            .store(word | u64::from(max_attempts) << 16, Relaxed);
    }

    pub(crate) fn get(&self) -> Plan {
        let word = self.word.load(Relaxed);
        Plan {
            on: Policies::from_bits((word & 0xFF) as u8),
            observe: Policies::from_bits((word >> 8 & 0xFF) as u8),
            max_attempts: (word >> 16 & 0xFF) as u32,
            deadline: self.deadline.load(Relaxed),
            attempt_timeout: self.attempt_timeout.load(Relaxed),
            min_time: Duration::from_micros(word >> 32),
            needs_time: word >> 24 & 1 == 1,
        }
    }
}

impl Plan {
    pub(crate) fn on(&self, policy: Policy) -> bool {
        self.on.has(policy)
    }

    /// On, and does more than report.
    pub(crate) fn acts(&self, policy: Policy) -> bool {
        self.on.has(policy) && !self.observe.has(policy)
    }

    pub(crate) fn observes(&self, policy: Policy) -> bool {
        self.on.has(policy) && self.observe.has(policy)
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
