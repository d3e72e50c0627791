//! When to send a second attempt beside one that is late.

use std::time::Duration;

use crate::invalid::in_range;
use crate::moment::nanos;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, lock};
use crate::{Invalid, Latency, Moment};

/// At the 95th percentile, 100 samples leave five above it; with fewer, one slow call is the estimate.
const DEFAULT_MIN_SAMPLES: u32 = 100;

/// No hedge sooner than this: below it a timer's own delay decides, not the dependency's.
const SOONEST: Duration = Duration::from_millis(1);

/// How long a quantile is used before it is computed again: 30 s of history don't move in less.
const REFRESH: Duration = Duration::from_millis(100);

const NONE: u64 = u64::MAX;
const NEVER_OVER: u64 = NONE - 1;

/// When to hedge: at a quantile of the latency observed, or after a fixed time.
///
/// A hedge at the 95th percentile repeats one call in twenty and cuts the slowest of them down to about the
/// delay and one ordinary call (Dean and Barroso, "The Tail at Scale", CACM 2013).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "file::Hedge", into = "file::Hedge")
)]
pub struct Hedge {
    when: When,
    min_samples: Option<u32>,
    at_most: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Quantile(f64),
    After(Duration),
}

impl Hedge {
    /// When a call takes longer than this share of calls did: 0.5..=0.999.
    pub fn at_quantile(quantile: f64) -> Self {
        Self::when(When::Quantile(quantile))
    }

    /// When a call takes longer than `delay`, 1 ms at least.
    pub fn after(delay: Duration) -> Self {
        Self::when(When::After(delay))
    }

    /// Calls to have seen before a quantile is trusted, 1 at least. Default: 100.
    #[must_use]
    pub fn min_samples(mut self, calls: u32) -> Self {
        self.min_samples = Some(calls);
        self
    }

    /// Stops hedging while the quantile is above this, 1 ms at least. Default: half of the time that the attempt has.
    ///
    /// A quantile this high says that the dependency is slow for everybody. Then a second attempt is no faster
    /// than the first, and only adds to the load.
    #[must_use]
    pub fn at_most(mut self, delay: Duration) -> Self {
        self.at_most = Some(delay);
        self
    }

    /// The delay, if it is fixed.
    pub fn fixed_delay(&self) -> Option<Duration> {
        match self.when {
            When::After(delay) => Some(delay),
            When::Quantile(_) => None,
        }
    }

    /// Refuses values out of range, and limits of the quantile beside a fixed delay, where they mean nothing.
    ///
    /// `field` is the path of these options, for the error.
    pub fn validate(&self, field: &str) -> Result<(), Invalid> {
        let timer = SOONEST..=Duration::MAX;
        match self.when {
            When::Quantile(quantile) => {
                in_range(&format!("{field}.quantile"), quantile, 0.5..=0.999)?;
                in_range(
                    &format!("{field}.min_samples"),
                    self.samples(),
                    1..=u32::MAX,
                )?;
                let at_most = self.at_most.unwrap_or(SOONEST);
                in_range(&format!("{field}.at_most"), at_most, timer)
            }
            When::After(delay) => {
                in_range(&format!("{field}.after"), delay, timer)?;
                let only = |name: &str, value: &dyn std::fmt::Debug| {
                    let field = format!("{field}.{name}");
                    Err(Invalid::new(
                        field,
                        format!("{value:?}"),
                        "allowed only with `quantile`",
                    ))
                };
                match (self.min_samples, self.at_most) {
                    (Some(calls), _) => only("min_samples", &calls),
                    (_, Some(delay)) => only("at_most", &delay),
                    (None, None) => Ok(()),
                }
            }
        }
    }

    fn when(when: When) -> Self {
        Self {
            when,
            min_samples: None,
            at_most: None,
        }
    }

    fn samples(&self) -> u32 {
        self.min_samples.unwrap_or(DEFAULT_MIN_SAMPLES)
    }
}

/// Answers how long to wait before the hedge of a call.
///
/// Feed it the latency of every attempt: of winners, of losers (how long they had run when they were dropped) and
/// of attempts that timed out. Winners alone are the fast half of the truth, and a delay learned from them comes
/// sooner with every hedge that wins. Leave out attempts that failed fast.
#[derive(Debug)]
pub struct HedgeTimer {
    options: Mutex<Hedge>,
    latency: Latency,
    /// Nanoseconds before a hedge, as last computed; `NONE` where there is no answer.
    delay: AtomicU64,
    /// No hedge for a delay above this; `NONE` where the deadline decides.
    limit: AtomicU64,
    /// When the delay is to be computed again.
    due: AtomicU64,
}

impl HedgeTimer {
    /// A timer that has seen nothing yet, unless the options are out of range.
    pub fn new(options: Hedge) -> Result<Self, Invalid> {
        options.validate("hedge")?;
        let timer = Self {
            options: Mutex::new(options.clone()),
            latency: Latency::new(),
            delay: AtomicU64::new(NONE),
            limit: AtomicU64::new(NONE),
            due: AtomicU64::new(0),
        };
        timer.set(options)?;
        Ok(timer)
    }

    /// The options in force.
    pub fn options(&self) -> Hedge {
        lock(&self.options).clone()
    }

    /// Replaces the options; what was learned stays.
    pub fn set(&self, options: Hedge) -> Result<(), Invalid> {
        options.validate("hedge")?;
        let mut current = lock(&self.options);
        let (delay, due) = match options.when {
            When::Quantile(_) => (NONE, 0),
            When::After(delay) => (nanos(delay).min(NEVER_OVER), NONE),
        };
        let limit = match (options.when, options.at_most) {
            (When::After(_), _) => NEVER_OVER,
            (When::Quantile(_), at_most) => {
                at_most.map_or(NONE, |most| nanos(most).min(NEVER_OVER))
            }
        };
        self.delay.store(delay, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.due.store(due, Ordering::Relaxed);
        *current = options;
        Ok(())
    }

    /// Counts one attempt that took `latency`.
    pub fn on_latency(&self, latency: Duration, now: Moment) {
        self.latency.record(latency, now);
    }

    /// How long to wait before the hedge of a call that begins `now` and may take `deadline`.
    ///
    /// None: don't hedge. There are too few samples, or the quantile is off the scale. Lock-free but for one
    /// call in 100 ms, which computes the quantile for all.
    pub fn delay(&self, deadline: Duration, now: Moment) -> Option<Duration> {
        let due = self.due.load(Ordering::Relaxed);
        if now.as_nanos() >= due {
            let next = now.plus(REFRESH).as_nanos();
            let mine = self
                .due
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
            if mine.is_ok() {
                self.refresh(now);
            }
        }
        let delay = self.delay.load(Ordering::Relaxed);
        if delay == NONE {
            return None;
        }
        let limit = match self.limit.load(Ordering::Relaxed) {
            NONE => nanos(deadline) / 2,
            limit => limit,
        };
        (delay <= limit).then_some(Duration::from_nanos(delay).max(SOONEST))
    }

    fn refresh(&self, now: Moment) {
        let options = lock(&self.options);
        if let When::Quantile(quantile) = options.when {
            let samples = u64::from(options.samples());
            let delay = self.latency.quantile(quantile, samples, now);
            self.delay
                .store(delay.map_or(NONE, nanos), Ordering::Relaxed);
        }
    }
}

#[cfg(feature = "serde")]
mod file {
    use std::time::Duration;

    use crate::Invalid;

    /// The options as a file has them.
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub(super) struct Hedge {
        #[serde(skip_serializing_if = "Option::is_none")]
        quantile: Option<f64>,
        #[serde(
            with = "crate::duration_text::option",
            skip_serializing_if = "Option::is_none"
        )]
        after: Option<Duration>,
        #[serde(skip_serializing_if = "Option::is_none")]
        min_samples: Option<u32>,
        #[serde(
            with = "crate::duration_text::option",
            skip_serializing_if = "Option::is_none"
        )]
        at_most: Option<Duration>,
    }

    impl TryFrom<Hedge> for super::Hedge {
        type Error = Invalid;

        fn try_from(file: Hedge) -> Result<Self, Invalid> {
            let when = match (file.quantile, file.after) {
                (Some(quantile), None) => super::When::Quantile(quantile),
                (None, Some(after)) => super::When::After(after),
                (quantile, after) => {
                    let value = format!("quantile {quantile:?}, after {after:?}");
                    let limit = "must have exactly one of `quantile` and `after`";
                    return Err(Invalid::new("hedge", value, limit));
                }
            };
            Ok(Self {
                when,
                min_samples: file.min_samples,
                at_most: file.at_most,
            })
        }
    }

    impl From<super::Hedge> for Hedge {
        fn from(options: super::Hedge) -> Self {
            let (quantile, after) = match options.when {
                super::When::Quantile(quantile) => (Some(quantile), None),
                super::When::After(after) => (None, Some(after)),
            };
            Self {
                quantile,
                after,
                min_samples: options.min_samples,
                at_most: options.at_most,
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const LONG: Duration = Duration::from_secs(100);

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn feed(timer: &HedgeTimer, latency: Duration, attempts: u32) {
        (0..attempts).for_each(|_| timer.on_latency(latency, at(0)));
    }

    /// CALL-16: the quantile is of all latencies fed, once there are enough.
    #[test]
    fn hedges_at_the_quantile() {
        let timer = HedgeTimer::new(Hedge::at_quantile(0.95)).unwrap();
        feed(&timer, MS(10), 94);
        feed(&timer, MS(80), 5);
        assert_eq!(timer.delay(LONG, at(0)), None);
        feed(&timer, MS(80), 1);
        let delay = timer.delay(LONG, at(100)).unwrap();
        assert!((MS(80)..=MS(83)).contains(&delay), "{delay:?}");
    }

    /// CALL-16: losers and time-outs count, so that a delay learned from winners alone can't race down.
    #[test]
    fn slow_attempts_raise_the_delay() {
        let timer = HedgeTimer::new(Hedge::at_quantile(0.9)).unwrap();
        feed(&timer, MS(10), 100);
        assert!(timer.delay(LONG, at(0)).unwrap() < MS(11));
        feed(&timer, MS(500), 12);
        assert!(timer.delay(LONG, at(99)).unwrap() < MS(11));
        assert!(timer.delay(LONG, at(100)).unwrap() >= MS(500));
    }

    /// CALL-16: a delay is a millisecond at least.
    #[test]
    fn never_sooner_than_a_millisecond() {
        let timer = HedgeTimer::new(Hedge::at_quantile(0.5)).unwrap();
        feed(&timer, Duration::from_micros(3), 100);
        assert_eq!(timer.delay(LONG, at(0)), Some(MS(1)));
    }

    /// CALL-16: off the scale means no hedge: over half of the deadline, or over the limit given.
    #[test]
    fn stops_when_the_quantile_is_off_the_scale() {
        let timer = HedgeTimer::new(Hedge::at_quantile(0.5)).unwrap();
        feed(&timer, MS(400), 100);
        let delay = timer.delay(LONG, at(0)).unwrap();
        assert!(timer.delay(delay * 2, at(0)).is_some());
        assert_eq!(
            timer.delay(delay + delay.saturating_sub(Duration::from_nanos(2)), at(0)),
            None
        );
        timer.set(Hedge::at_quantile(0.5).at_most(delay)).unwrap();
        assert!(timer.delay(MS(1), at(0)).is_some());
        timer.set(Hedge::at_quantile(0.5).at_most(MS(400))).unwrap();
        assert_eq!(timer.delay(LONG, at(0)), None);
        feed(&timer, MS(100_000), 200);
        timer.set(Hedge::at_quantile(0.5)).unwrap();
        assert_eq!(timer.delay(Duration::MAX, at(0)), None);
    }

    /// CALL-16: a fixed delay needs no samples and no deadline, and options change live.
    #[test]
    fn fixed_is_fixed() {
        let timer = HedgeTimer::new(Hedge::after(MS(50))).unwrap();
        assert_eq!(timer.delay(MS(60), at(0)), Some(MS(50)));
        assert_eq!(timer.delay(Duration::MAX, Moment::NEVER), Some(MS(50)));
        timer.set(Hedge::at_quantile(0.5).min_samples(1)).unwrap();
        assert_eq!(timer.delay(LONG, at(0)), None);
        feed(&timer, MS(5), 1);
        timer.set(Hedge::after(MS(20))).unwrap();
        assert_eq!(timer.delay(LONG, at(0)), Some(MS(20)));
        assert_eq!(timer.options(), Hedge::after(MS(20)));
    }

    #[test]
    fn errors_name_field_value_and_limit() {
        let error = |options: Hedge| options.validate("hedge").map_err(|e| e.to_string());
        let says = |text: &str| Err(text.to_owned());
        assert_eq!(
            error(Hedge::at_quantile(0.4)),
            says("hedge.quantile = 0.4: must be in 0.5..=0.999")
        );
        assert_eq!(
            error(Hedge::after(MS(5)).at_most(MS(9))),
            says("hedge.at_most = 9ms: allowed only with `quantile`")
        );
        for bad in [
            Hedge::at_quantile(f64::NAN),
            Hedge::at_quantile(1.0),
            Hedge::at_quantile(0.9).min_samples(0),
            Hedge::at_quantile(0.9).at_most(MS(0)),
            Hedge::after(Duration::from_micros(999)),
            Hedge::after(MS(5)).min_samples(3),
        ] {
            assert!(HedgeTimer::new(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn options_are_read_from_a_file() {
        let read = |text| toml::from_str::<Hedge>(text).map_err(|error| error.to_string());
        assert_eq!(read("quantile = 0.95"), Ok(Hedge::at_quantile(0.95)));
        assert_eq!(read("after = '50ms'"), Ok(Hedge::after(MS(50))));
        for bad in ["", "quantile = 0.9\nafter = '50ms'"] {
            let error = read(bad).unwrap_err();
            assert!(error.contains("exactly one of"), "{error}");
        }
        assert!(read("quantil = 0.9").is_err());
        let options = Hedge::at_quantile(0.9).min_samples(7).at_most(MS(70));
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Hedge>(&text).unwrap(), options);
    }
}
