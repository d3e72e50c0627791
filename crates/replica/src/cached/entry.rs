use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use backstay_core::Moment;
use backstay_core::backoff::Backoff;

use super::answer::{Answer, AnswerFrom};

/// For how long an answer is served, by its age.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) ttl: Duration,
    pub(super) negative_ttl: Duration,
    /// Beyond its time to live.
    pub(super) while_revalidate: Duration,
    /// Beyond its time to live.
    pub(super) if_error: Duration,
    pub(super) fail_closed: Option<Duration>,
}

/// What was loaded together does not end together: a tenth to either side.
const JITTER: f64 = 0.1;

impl Windows {
    pub(super) fn limit(&self, max_age: Duration) -> Duration {
        self.fail_closed.map_or(max_age, |most| most.min(max_age))
    }

    fn lives(&self, is_absent: bool, random: f64) -> Duration {
        let ttl = if is_absent {
            self.negative_ttl
        } else {
            self.ttl
        };
        ttl.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
    }
}

/// What may be done with an answer that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Fresh,
    /// Serve it and load it anew.
    Revalidate,
    /// Load it anew, and serve it if that can't be done.
    IfError,
    Gone,
}

/// One answer of a load.
#[derive(Debug)]
pub(super) struct Entry<V> {
    value: Option<Arc<V>>,
    number: u64,
    pub(super) generation: u64,
    pub(super) weight: u32,
    asked: Moment,
    lives: Duration,
    /// Its load has ended before any invalidation. Until that is known nobody reads it.
    is_settled: AtomicBool,
    failures: AtomicU32,
    /// Not before this moment, in nanoseconds.
    retry_at: AtomicU64,
}

impl<V> Entry<V> {
    pub(super) fn new(
        value: Option<V>,
        number: u64,
        generation: u64,
        weight: u32,
        asked: Moment,
        windows: &Windows,
        random: f64,
    ) -> Self {
        Self {
            lives: windows.lives(value.is_none(), random),
            value: value.map(Arc::new),
            number,
            generation,
            weight,
            asked,
            is_settled: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            retry_at: AtomicU64::new(0),
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_none()
    }

    pub(super) fn age(&self, now: Moment) -> Duration {
        now.since(self.asked)
    }

    pub(super) fn was_asked_before(&self, moment: Moment) -> bool {
        self.asked < moment
    }

    pub(super) fn judge(&self, now: Moment, windows: &Windows) -> Judged {
        let age = self.age(now);
        if age <= self.lives {
            return Judged::Fresh;
        }
        // That a key is not there is never served for longer: it is cheap to ask again, and dangerous to believe.
        let over = age.saturating_sub(self.lives);
        if self.is_absent() {
            Judged::Gone
        } else if over <= windows.while_revalidate {
            Judged::Revalidate
        } else if over <= windows.if_error {
            Judged::IfError
        } else {
            Judged::Gone
        }
    }

    pub(super) fn answer(&self, now: Moment, source: AnswerFrom) -> Answer<V> {
        Answer {
            value: self.value.clone(),
            version: self.number,
            age: self.age(now),
            source,
        }
    }

    pub(super) fn may_retry(&self, now: Moment) -> bool {
        now.as_nanos() >= self.retry_at.load(Relaxed)
    }

    pub(super) fn put_off(&self, now: Moment, backoff: &Backoff, random: u64) {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        let wait = backoff.delay(failures, Duration::ZERO, random);
        self.retry_at.fetch_max(now.plus(wait).as_nanos(), Relaxed);
    }

    pub(super) fn settle(&self) {
        self.is_settled.store(true, Release);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.load(Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn windows() -> Windows {
        Windows {
            ttl: S(100),
            negative_ttl: S(10),
            while_revalidate: S(20),
            if_error: S(50),
            fail_closed: None,
        }
    }

    fn entry(value: Option<()>, random: f64) -> Entry<()> {
        Entry::new(value, 1, 0, 1, Moment::default(), &windows(), random)
    }

    /// REP-5: each window ends at its cap, and counts from before the load.
    #[test]
    fn windows_have_hard_caps() {
        let entry = entry(Some(()), 0.5);
        let judged = |age| entry.judge(Moment::default().plus(age), &windows());
        let instant = Duration::from_nanos(1);
        assert_eq!(judged(S(100)), Judged::Fresh);
        assert_eq!(judged(S(100) + instant), Judged::Revalidate);
        assert_eq!(judged(S(120)), Judged::Revalidate);
        assert_eq!(judged(S(120) + instant), Judged::IfError);
        assert_eq!(judged(S(150)), Judged::IfError);
        assert_eq!(judged(S(150) + instant), Judged::Gone);
    }

    /// REP-5: that a key is not there has a time of its own, and no window after it.
    #[test]
    fn an_absent_key_has_its_own_time() {
        let entry = entry(None, 0.5);
        let judged = |age| entry.judge(Moment::default().plus(age), &windows());
        assert_eq!(judged(S(10)), Judged::Fresh);
        assert_eq!(judged(S(10) + Duration::from_nanos(1)), Judged::Gone);
    }

    /// REP-5: a tenth to either side, and no more.
    #[test]
    fn the_time_to_live_is_spread() {
        assert_eq!(entry(Some(()), 0.0).lives, S(90));
        assert_eq!(entry(Some(()), 1.0).lives, S(110));
        assert_eq!(entry(None, 0.0).lives, S(9));
    }
}
