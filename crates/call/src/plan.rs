use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::policy::{Policies, Policy};
use crate::settings::Settings;

/// What a call needs to know of the settings before anything goes wrong, in three words.
///
/// A call that starts while the settings change may see new values beside old ones; each of them is valid, and
/// shorter ones win.
#[derive(Debug)]
pub(crate) struct SharedPlan {
    word: AtomicU64,
    /// Nanoseconds; `u64::MAX` for none.
    deadline: AtomicU64,
    attempt_timeout: AtomicU64,
}

/// The plan of one call in one word, copied at its start and kept to.
///
/// From the lowest bit: policies that are on (8 bits), policies that observe (8), most attempts (8), whether the
/// call needs to know when it began, and the least time of an attempt in microseconds (the upper half).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan(u64);

const NEEDS_START: u64 = 1 << 24;

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
        self.deadline.store(nanos(settings.deadline), Relaxed);
        self.attempt_timeout
            .store(settings.attempt_timeout.map_or(u64::MAX, nanos), Relaxed);
        self.word.store(Plan::new(settings).0, Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> Plan {
        Plan(self.word.load(Relaxed))
    }

    #[inline]
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(Relaxed)
    }

    #[inline]
    pub(crate) fn attempt_timeout(&self) -> u64 {
        self.attempt_timeout.load(Relaxed)
    }
}

impl Plan {
    /// No policy, no attempt.
    pub(crate) const NONE: Self = Self(0);

    fn new(settings: &Settings) -> Self {
        let on = settings.on();
        let observe: Policies = settings.observe.iter().copied().collect();
        // A breaker that knows no slow calls takes its time from the end of a call; so does nothing else.
        let mut startless = Policies::default();
        startless.set(Policy::Breaker, settings.breaker.slow_threshold().is_none());
        startless.set(Policy::AttemptTimeout, settings.attempt_timeout.is_none());
        let needs_start = on.bits() & !startless.bits() != 0;
        let least_time = if on.has(Policy::Retry) {
            settings.retry.least_time()
        } else {
            Duration::ZERO
        };
        let least = u32::try_from(least_time.as_micros()).unwrap_or(u32::MAX);
        Self(
            u64::from(on.bits())
                | u64::from(observe.bits()) << 8
                | u64::from(settings.max_attempts()) << 16
                | if needs_start { NEEDS_START } else { 0 }
                | u64::from(least) << 32,
        )
    }

    #[inline]
    pub(crate) fn on(self, policy: Policy) -> bool {
        self.0 & 1 << policy as u8 != 0
    }

    #[inline]
    pub(crate) fn observes(self, policy: Policy) -> bool {
        self.0 & 0x101 << policy as u8 == 0x101 << policy as u8
    }

    /// On, and does more than report.
    #[inline]
    pub(crate) fn acts(self, policy: Policy) -> bool {
        self.0 & 0x101 << policy as u8 == 1 << policy as u8
    }

    #[inline]
    pub(crate) fn observes_any(self) -> bool {
        self.0 & 0xFF00 != 0
    }

    #[inline]
    pub(crate) fn max_attempts(self) -> u32 {
        (self.0 >> 16 & 0xFF) as u32
    }

    #[inline]
    pub(crate) fn needs_start(self) -> bool {
        self.0 & NEEDS_START != 0
    }

    /// Starts no attempt with less time left.
    #[inline]
    pub(crate) fn min_time(self) -> Duration {
        Duration::from_micros(self.0 >> 32)
    }
}

#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
