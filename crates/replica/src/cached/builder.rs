use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use backstay_core::Invalid;
use backstay_core::backoff::Backoff;
use moka::sync::Cache;

use super::entry::{Entry, Windows};
use super::flight::Flights;
use super::{Cached, Inner, Load, LoadError, LookupEvent, Weigh};
use crate::Clock;
use crate::event::Listener;
use crate::options::within;

/// Long enough to save most loads of what is read often, short enough that nobody has to know of the cache.
const TTL: Duration = Duration::from_secs(60);
/// What was not there may have been made by now, and its maker looks for it.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// A load takes less; who comes in it does not wait.
const WHILE_REVALIDATE: Duration = Duration::from_secs(10);
/// A deployment or a failover of the source is over by then.
const IF_ERROR: Duration = Duration::from_secs(5 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Some tens of megabytes of small values.
const MAX_WEIGHT: u64 = 100_000;
const MAX_ABSENT: u64 = 10_000;
/// More than any source wants at once from one process.
const MAX_LOADS: usize = 1_000;

/// Collects the options of a [`Cached`].
#[must_use = "a builder builds nothing until `build`"]
pub struct CachedBuilder<K, V, E> {
    load: Arc<Load<K, V, E>>,
    ttl: Duration,
    negative_ttl: Option<Duration>,
    while_revalidate: Option<Duration>,
    if_error: Option<Duration>,
    fail_closed: Option<Duration>,
    max_weight: u64,
    max_absent: u64,
    max_loads: usize,
    weigh: Option<Box<Weigh<K, V>>>,
    backoff: Backoff,
    clock: Clock,
    listener: Listener<LookupEvent>,
}

impl<K, V, E> CachedBuilder<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    E: LoadError,
{
    pub(super) fn new(load: Arc<Load<K, V, E>>) -> Self {
        Self {
            load,
            ttl: TTL,
            negative_ttl: None,
            while_revalidate: None,
            if_error: None,
            fail_closed: None,
            max_weight: MAX_WEIGHT,
            max_absent: MAX_ABSENT,
            max_loads: MAX_LOADS,
            weigh: None,
            backoff: Backoff::full_jitter(Duration::from_millis(500)).cap(Duration::from_secs(30)),
            clock: Clock::default(),
            listener: Listener::default(),
        }
    }

    /// How long an answer is served, counted from before its load, give or take a tenth: 1 ms to 1 day; 60 s by default.
    pub fn ttl(mut self, time: Duration) -> Self {
        self.ttl = time;
        self
    }

    /// How long it is believed that a key is not there, 0 to the time to live; 5 s or that by default. With 0 it is not kept.
    pub fn negative_ttl(mut self, time: Duration) -> Self {
        self.negative_ttl = Some(time);
        self
    }

    /// How long after its time an answer is served while it is loaded anew, at most 1 day; 10 s by default.
    pub fn stale_while_revalidate(mut self, time: Duration) -> Self {
        self.while_revalidate = Some(time);
        self
    }

    /// How long after its time an answer is served where its source can't say, at most 1 day; 5 min by default.
    ///
    /// As [`LoadError`] tells: a breaker that is open is such a case. Failed loads back off meanwhile.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.if_error = Some(time);
        self
    }

    /// No answer is served that is older than this, whatever else is set; at least the time to live and a tenth.
    ///
    /// For what is dangerous when it is old. The windows for stale answers are cut off there.
    pub fn fail_closed(mut self, max_age: Duration) -> Self {
        self.fail_closed = Some(max_age);
        self
    }

    /// How much all values may weigh together, 100,000 by default; each weighs 1 unless [`weigher`](Self::weigher) says so.
    pub fn max_weight(mut self, weight: u64) -> Self {
        self.max_weight = weight;
        self
    }

    /// What a value weighs, in the unit of [`max_weight`](Self::max_weight); at least 1.
    pub fn weigher(mut self, weigh: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.weigh = Some(Box::new(weigh));
        self
    }

    /// How many keys are remembered as not there, 10,000 by default.
    pub fn max_absent(mut self, keys: u64) -> Self {
        self.max_absent = keys;
        self
    }

    /// How many loads may be under way at a time, 1,000 by default. What is beyond is refused.
    pub fn max_loads(mut self, loads: usize) -> Self {
        self.max_loads = loads;
        self
    }

    /// After a failed load, how long a stale answer is served without another one; full jitter from 500 ms to 30 s by default.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Hears what happens. It is called by whoever notices, and must not block. A panic of it changes nothing.
    pub fn on_event(mut self, hear: impl Fn(&LookupEvent) + Send + Sync + 'static) -> Self {
        self.listener.add(hear);
        self
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// Names the option, its value and what is allowed.
    pub fn build(self) -> Result<Cached<K, V, E>, Invalid> {
        let windows = self.windows()?;
        self.backoff.validate("backoff")?;
        for (field, value) in [
            ("max_weight", self.max_weight),
            ("max_loads", self.max_loads as u64),
        ] {
            if value == 0 {
                return Err(Invalid::new(field, value, "must be at least 1"));
            }
        }
        let values = Cache::builder().max_capacity(self.max_weight);
        let values = values.weigher(|_, entry: &Arc<Entry<V>>| entry.weight);
        Ok(Cached {
            inner: Arc::new(Inner {
                load: self.load,
                values: values.build(),
                absent: Cache::new(self.max_absent),
                flights: Flights::new(self.max_loads),
                generation: AtomicU64::new(0),
                loads: AtomicU64::new(0),
                windows,
                backoff: self.backoff,
                weigh: self.weigh,
                clock: self.clock,
                listener: self.listener,
            }),
        })
    }

    fn windows(&self) -> Result<Windows, Invalid> {
        within("ttl", self.ttl, Duration::from_millis(1), DAY)?;
        let negative_ttl = self.negative_ttl.unwrap_or(NEGATIVE_TTL.min(self.ttl));
        within("negative_ttl", negative_ttl, Duration::ZERO, self.ttl)?;
        let while_revalidate = self.while_revalidate.unwrap_or(WHILE_REVALIDATE);
        within(
            "stale_while_revalidate",
            while_revalidate,
            Duration::ZERO,
            DAY,
        )?;
        let if_error = self.if_error.unwrap_or(IF_ERROR);
        within("stale_if_error", if_error, Duration::ZERO, DAY)?;
        let least = self.ttl.mul_f64(1.1);
        if let Some(limit) = self.fail_closed
            && limit < least
        {
            let relation = format!("must be at least the time to live and a tenth, {least:?}");
            return Err(Invalid::new("fail_closed", format!("{limit:?}"), relation));
        }
        Ok(Windows {
            ttl: self.ttl,
            negative_ttl,
            while_revalidate,
            if_error,
            fail_closed: self.fail_closed,
        })
    }
}

impl<K, V, E> fmt::Debug for CachedBuilder<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedBuilder")
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
