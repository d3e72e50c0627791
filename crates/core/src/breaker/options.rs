use std::time::Duration;

use crate::Invalid;
use crate::invalid::in_range;
use crate::moment::nanos;
use crate::window::MAX_CALLS;

/// Over which calls the rates are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
#[non_exhaustive]
pub enum Window {
    /// The calls of this long, in ten buckets of exact counts. 100 ms..=1 h.
    Time(#[cfg_attr(feature = "serde", serde(with = "crate::duration_text"))] Duration),
    /// The last so many calls. 1..=4000.
    Calls(u32),
}

/// Options of a circuit breaker.
///
/// Two detectors work side by side. A rate over a window sees a dependency that fails half of the time at any
/// load; consecutive failures see one that is dead after a handful of calls, without waiting for a minimum.
///
/// ```
/// use std::time::Duration;
/// use backstay_core::breaker::Breaker;
///
/// let options = Breaker::failure_rate(0.5).slow_after(Duration::from_millis(100));
/// assert!(options.validate("breaker").is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct Breaker {
    failure_rate: f64,
    minimum_calls: u32,
    window: Window,
    consecutive_failures: u32,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::duration_text::option",
            skip_serializing_if = "Option::is_none"
        )
    )]
    slow_after: Option<Duration>,
    slow_rate: f64,
    overload_rate: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::duration_text"))]
    open_for: Duration,
    #[cfg_attr(feature = "serde", serde(with = "crate::duration_text"))]
    open_for_at_most: Duration,
    probes: u32,
    #[cfg_attr(feature = "serde", serde(with = "crate::duration_text"))]
    probe_wait: Duration,
}

/// Half of the calls: below it, retrying within the budget still pays; above it, most calls cost more than they bring.
const FAILURE_RATE: f64 = 0.5;
/// A rate over fewer calls is chance: at 20 calls and a true rate of 10 %, half fail less than once in 100,000 windows.
const MINIMUM_CALLS: u32 = 20;
/// Long enough to hold the minimum at 2 calls a second, short enough to forget a restart.
const WINDOW: Window = Window::Time(Duration::from_secs(10));
/// At a true failure rate of 10 % ten in a row are one in ten thousand million; a dead dependency needs ten calls.
const CONSECUTIVE_FAILURES: u32 = 10;
/// Half of the calls, as for failures.
const SLOW_RATE: f64 = 0.5;
/// A dependency that sheds part of its load serves the rest: opening would throw that away. Nine in ten is an outage.
const OVERLOAD_RATE: f64 = 0.9;
/// A process restart or a failover takes about this long.
const OPEN_FOR: Duration = Duration::from_secs(1);
/// A dependency that is back is noticed within half a minute at worst.
const OPEN_FOR_AT_MOST: Duration = Duration::from_secs(30);
/// Two of three decide, so that one unlucky probe neither closes nor opens.
const PROBES: u32 = 3;
/// As long as the default deadline of a call: a probe that is still silent then is lost.
const PROBE_WAIT: Duration = Duration::from_secs(10);

impl Default for Breaker {
    fn default() -> Self {
        Self::failure_rate(FAILURE_RATE)
    }
}

impl Breaker {
    /// Opens when at least `rate` of the calls in the window failed. Above 0, at most 1; default 0.5.
    pub const fn failure_rate(rate: f64) -> Self {
        Self {
            failure_rate: rate,
            minimum_calls: MINIMUM_CALLS,
            window: WINDOW,
            consecutive_failures: CONSECUTIVE_FAILURES,
            slow_after: None,
            slow_rate: SLOW_RATE,
            overload_rate: OVERLOAD_RATE,
            open_for: OPEN_FOR,
            open_for_at_most: OPEN_FOR_AT_MOST,
            probes: PROBES,
            probe_wait: PROBE_WAIT,
        }
    }

    /// Judges no rate over fewer calls than this. 1..=1,000,000; default 20.
    pub const fn minimum_calls(mut self, calls: u32) -> Self {
        self.minimum_calls = calls;
        self
    }

    /// Takes the rates over the calls of this long. 100 ms..=1 h; default 10 s.
    pub const fn window(mut self, length: Duration) -> Self {
        self.window = Window::Time(length);
        self
    }

    /// Takes the rates over the last so many calls instead of a time. 1..=4000.
    pub const fn window_of_calls(mut self, calls: u32) -> Self {
        self.window = Window::Calls(calls);
        self
    }

    /// Opens after this many failures without a success between. 1 or more; default 10; `u32::MAX` switches it off.
    pub const fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = failures;
        self
    }

    /// A call that takes this long is slow, finished or not. Default: no call is slow.
    pub const fn slow_after(mut self, time: Duration) -> Self {
        self.slow_after = Some(time);
        self
    }

    /// Opens when at least this share of the calls is slow. Above 0, at most 1; default 0.5.
    pub const fn slow_rate(mut self, rate: f64) -> Self {
        self.slow_rate = rate;
        self
    }

    /// Opens when at least this share of the calls is refused as overload. Above 0, at most 1; default 0.9.
    pub const fn overload_rate(mut self, rate: f64) -> Self {
        self.overload_rate = rate;
        self
    }

    /// Stays open this long before the first probes. 1 ms..=1 h; default 1 s. Doubles while probes fail.
    pub const fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// Never stays open longer than this at a time. At least `open_for`, at most 24 h; default 30 s.
    pub const fn open_for_at_most(mut self, time: Duration) -> Self {
        self.open_for_at_most = time;
        self
    }

    /// Decides by this many probes. 1..=100; default 3.
    pub const fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// Gives the place of a probe that has not returned after this long to another. 1 ms..=1 h; default 10 s.
    pub const fn probe_wait(mut self, time: Duration) -> Self {
        self.probe_wait = time;
        self
    }

    /// Refuses values out of range and combinations that can't work; `field` is where the options stand.
    pub fn validate(&self, field: &str) -> Result<(), Invalid> {
        let at = |name: &str| format!("{field}.{name}");
        for (name, rate) in [
            ("failure_rate", self.failure_rate),
            ("slow_rate", self.slow_rate),
            ("overload_rate", self.overload_rate),
        ] {
            if !(rate > 0.0 && rate <= 1.0) {
                return Err(Invalid::new(
                    at(name),
                    rate,
                    "must be above 0 and at most 1",
                ));
            }
        }
        in_range(&at("minimum_calls"), self.minimum_calls, 1..=1_000_000)?;
        in_range(
            &at("consecutive_failures"),
            self.consecutive_failures,
            1..=u32::MAX,
        )?;
        match self.window {
            Window::Time(length) => in_range(&at("window.time"), length, MILLI * 100..=HOUR)?,
            Window::Calls(calls) => {
                in_range(&at("window.calls"), calls, 1..=MAX_CALLS)?;
                if calls < self.minimum_calls {
                    return Err(Invalid::new(
                        at("minimum_calls"),
                        self.minimum_calls,
                        format!("must be at most {field}.window.calls = {calls}"),
                    ));
                }
            }
        }
        if let Some(time) = self.slow_after {
            in_range(&at("slow_after"), time, MILLI..=HOUR)?;
        }
        in_range(&at("open_for"), self.open_for, MILLI..=HOUR)?;
        in_range(
            &at("open_for_at_most"),
            self.open_for_at_most,
            self.open_for..=HOUR * 24,
        )?;
        in_range(&at("probes"), self.probes, 1..=100)?;
        in_range(&at("probe_wait"), self.probe_wait, MILLI..=HOUR)
    }

    /// After how long a call is slow, if one can be.
    pub const fn slow_threshold(&self) -> Option<Duration> {
        self.slow_after
    }

    pub(super) fn over(&self) -> Window {
        self.window
    }

    /// Buckets in a nanosecond, times 2^64: a multiplication is cheaper than a division at the end of every call.
    ///
    /// Rounded up, so a bucket is too short by less than its length in nanoseconds over 2^64 of itself: 5 in 10^11 for one
    /// of 1 s. A count window has one bucket for all time.
    pub(super) fn tick_rate(&self) -> u64 {
        let bucket = match self.window {
            Window::Time(length) => nanos(length / 10).max(1),
            Window::Calls(_) => u64::MAX,
        };
        (u64::MAX / bucket).saturating_add(1)
    }

    /// How long to stay open after `rounds` rounds of probes in a row have failed.
    pub(super) fn open_time(&self, rounds: u32) -> Duration {
        let doubled = 1u32
            .checked_shl(rounds)
            .and_then(|times| self.open_for.checked_mul(times));
        doubled.map_or(self.open_for_at_most, |time| {
            time.min(self.open_for_at_most)
        })
    }

    /// How many failed probes of a round open again.
    pub(super) fn failed_probes_to_open(&self) -> u32 {
        (1..=self.probes)
            .find(|failed| f64::from(*failed) / f64::from(self.probes) >= self.failure_rate)
            .unwrap_or(self.probes)
    }

    pub(super) fn probes_allowed(&self) -> u32 {
        self.probes
    }

    pub(super) fn probe_patience(&self) -> Duration {
        self.probe_wait
    }

    pub(super) fn thresholds(&self) -> Thresholds {
        Thresholds {
            minimum_calls: u64::from(self.minimum_calls),
            consecutive_failures: self.consecutive_failures,
            failure_rate: self.failure_rate,
            slow_rate: self.slow_rate,
            overload_rate: self.overload_rate,
        }
    }
}

/// What opens a closed circuit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    pub(super) minimum_calls: u64,
    pub(super) consecutive_failures: u32,
    pub(super) failure_rate: f64,
    pub(super) slow_rate: f64,
    pub(super) overload_rate: f64,
}

const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
