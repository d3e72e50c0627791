//! How long to wait before an attempt is repeated.

use std::time::Duration;

use crate::Invalid;
use crate::invalid::in_range;
use crate::moment::nanos;

/// Longest wait a retry may be given; whoever wants more wants a schedule, not a retry.
const LONGEST: Duration = Duration::from_secs(3_600);

/// 50 ms: several round trips inside a data centre, and still a wait no person notices.
const DEFAULT_BASE: Duration = Duration::from_millis(50);

/// 2 s: most calls that somebody waits for have given up by then; a longer wait only fills the caller's memory.
const DEFAULT_CAP: Duration = Duration::from_secs(2);

/// The wait before a retry: how it grows, and how it is spread.
///
/// The default is full jitter from 50 ms up to 2 s. Full jitter spreads the callers of a dependency that just
/// failed over the whole range, so that they do not come back together; waits that only grow keep them in step
/// (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
///
/// ```
/// # use std::time::Duration;
/// use backstay_core::backoff::Backoff;
///
/// let backoff = Backoff::full_jitter(Duration::from_millis(20)).cap(Duration::from_secs(1));
/// assert!(backoff.validate("retry.backoff").is_ok());
/// assert_eq!(backoff.longest(3), Duration::from_millis(80));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Backoff {
    kind: Kind,
    #[cfg_attr(feature = "serde", serde(with = "crate::duration_text"))]
    base: Duration,
    #[cfg_attr(
        feature = "serde",
        serde(
            with = "crate::duration_text::option",
            skip_serializing_if = "Option::is_none"
        )
    )]
    cap: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
enum Kind {
    FullJitter,
    Decorrelated,
    Fixed,
}

impl Backoff {
    /// Anything from nothing to `base`, doubled with every retry.
    pub fn full_jitter(base: Duration) -> Self {
        Self::of(Kind::FullJitter, base)
    }

    /// Anything from `base` to three times the wait before.
    ///
    /// Grows more slowly than full jitter for callers that were lucky, and never waits less than `base`.
    pub fn decorrelated(base: Duration) -> Self {
        Self::of(Kind::Decorrelated, base)
    }

    /// Always `delay`. Callers that failed together come back together: for tests and for polling.
    pub fn fixed(delay: Duration) -> Self {
        Self::of(Kind::Fixed, delay)
    }

    /// Never waits longer than this. Default: 2 s, or the base where that is longer. At most 1 h.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = Some(cap);
        self
    }

    /// Refuses a base outside 1 ms..=1 h, and a cap below the base or above 1 h.
    ///
    /// `field` is the path of these options, for the error.
    pub fn validate(&self, field: &str) -> Result<(), Invalid> {
        in_range(
            &format!("{field}.base"),
            self.base,
            Duration::from_millis(1)..=LONGEST,
        )?;
        in_range(
            &format!("{field}.cap"),
            self.longest_ever(),
            self.base..=LONGEST,
        )
    }

    /// The wait before a retry.
    ///
    /// `retry` is 1 before the second attempt; `previous` is the wait before that, zero for the first;
    /// `random` is uniform over all of `u64`.
    pub fn delay(&self, retry: u32, previous: Duration, random: u64) -> Duration {
        let cap = nanos(self.longest_ever());
        let base = nanos(self.base).min(cap);
        let nanos = match self.kind {
            Kind::FullJitter => uniform(random, 0, nanos(self.longest(retry))),
            Kind::Decorrelated => {
                // The first wait has none before it and draws as if that had been the base.
                let most = nanos(previous).max(base).saturating_mul(3).min(cap);
                uniform(random, base, most)
            }
            Kind::Fixed => base,
        };
        Duration::from_nanos(nanos)
    }

    /// The longest wait that [`delay`](Self::delay) can answer before this retry.
    pub fn longest(&self, retry: u32) -> Duration {
        let factor = match self.kind {
            // 2^64 times a nanosecond is past every cap.
            Kind::FullJitter => 1u128 << retry.saturating_sub(1).min(64),
            Kind::Decorrelated => 3u128.saturating_pow(retry.max(1)),
            Kind::Fixed => 1,
        };
        let grown = u128::from(nanos(self.base)).saturating_mul(factor);
        let cap = nanos(self.longest_ever());
        Duration::from_nanos(u64::try_from(grown).map_or(cap, |grown| grown.min(cap)))
    }

    fn of(kind: Kind, base: Duration) -> Self {
        Self {
            kind,
            base,
            cap: None,
        }
    }

    fn longest_ever(&self) -> Duration {
        self.cap.unwrap_or(DEFAULT_CAP.max(self.base))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::full_jitter(DEFAULT_BASE)
    }
}

/// `random`, uniform over all of `u64`, brought to `least..=most` by multiplying and taking the high half.
///
/// A remainder would prefer small results; this is even to one part in 2^64 for each of them.
fn uniform(random: u64, least: u64, most: u64) -> u64 {
    let results = u128::from(most.saturating_sub(least)) + 1;
    // The product is below 2^64 times `results`, so its high half is below `results` and fits.
    least + ((u128::from(random) * results) >> 64) as u64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            (0u64..10_000).prop_map(Duration::from_millis),
            (any::<u64>(), 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n)),
        ]
    }

    fn any_backoff() -> impl Strategy<Value = Backoff> {
        let kind = prop_oneof![
            Just(Kind::FullJitter),
            Just(Kind::Decorrelated),
            Just(Kind::Fixed)
        ];
        (kind, any_duration(), proptest::option::of(any_duration()))
            .prop_map(|(kind, base, cap)| Backoff { kind, base, cap })
    }

    proptest! {
        /// CALL-12: no attempt number, wait before, option or random number brings a wait past the cap.
        #[test]
        fn never_past_the_cap(
            backoff in any_backoff(),
            retry in prop_oneof![0u32..100, any::<u32>()],
            previous in any_duration(),
            random in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
        ) {
            let cap = backoff.longest_ever();
            prop_assert!(backoff.delay(retry, previous, random) <= cap);
            prop_assert!(backoff.longest(retry) <= cap);
        }

        /// CALL-12: what `longest` says holds for a run of retries, each given the wait before it.
        #[test]
        fn longest_is_kept(backoff in any_backoff(), randoms in prop::collection::vec(any::<u64>(), 1..80)) {
            let mut previous = Duration::ZERO;
            for (retry, random) in (1..).zip(randoms) {
                previous = backoff.delay(retry, previous, random);
                prop_assert!(previous <= backoff.longest(retry));
            }
        }

        /// CALL-12: the random number's whole range is the wait's whole range, ends included.
        #[test]
        fn uniform_reaches_both_ends(least in any::<u64>(), more in any::<u64>(), random in any::<u64>()) {
            let most = least.saturating_add(more);
            prop_assert_eq!(uniform(0, least, most), least);
            prop_assert_eq!(uniform(u64::MAX, least, most), most);
            prop_assert!((least..=most).contains(&uniform(random, least, most)));
        }
    }

    /// CALL-12: full jitter doubles its ceiling and draws from nothing up to it.
    #[test]
    fn full_jitter_doubles() {
        let backoff = Backoff::full_jitter(MS(50));
        let most = [1, 2, 3, 6, 7, 1_000].map(|retry| backoff.delay(retry, MS(0), u64::MAX));
        assert_eq!(most, [50, 100, 200, 1_600, 2_000, 2_000].map(MS));
        assert_eq!(backoff.delay(9, MS(0), 0), MS(0));
        assert_eq!(backoff.delay(1, MS(0), 1 << 63), MS(25));
    }

    /// CALL-12: decorrelated jitter draws between the base and three times the wait before.
    #[test]
    fn decorrelated_follows_the_wait_before() {
        let backoff = Backoff::decorrelated(MS(10)).cap(MS(100));
        assert_eq!(backoff.delay(1, MS(0), 0), MS(10));
        assert_eq!(backoff.delay(1, MS(0), u64::MAX), MS(30));
        assert_eq!(backoff.delay(2, MS(20), u64::MAX), MS(60));
        assert_eq!(backoff.delay(3, MS(90), u64::MAX), MS(100));
    }

    /// CALL-12: a fixed wait is what was asked for, and its default cap is no less.
    #[test]
    fn fixed_stays() {
        let backoff = Backoff::fixed(MS(5_000));
        assert_eq!(backoff.validate("retry.backoff"), Ok(()));
        assert_eq!(backoff.delay(u32::MAX, MS(1), 7), MS(5_000));
    }

    #[test]
    fn errors_name_field_value_and_limit() {
        let error = Backoff::full_jitter(MS(0)).validate("retry.backoff");
        assert_eq!(
            error.map_err(|e| e.to_string()),
            Err("retry.backoff.base = 0ns: must be in 1ms..=3600s".to_owned())
        );
        let error = Backoff::fixed(MS(20)).cap(MS(10)).validate("retry.backoff");
        assert_eq!(
            error.map_err(|e| e.to_string()),
            Err("retry.backoff.cap = 10ms: must be in 20ms..=3600s".to_owned())
        );
        assert!(Backoff::default().cap(MS(3_600_001)).validate("b").is_err());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn is_read_from_a_file() {
        let read = toml::from_str::<Backoff>;
        let full = "kind = 'decorrelated'\nbase = '20ms'\ncap = '1.5s'";
        let expected = Backoff::decorrelated(MS(20)).cap(MS(1_500));
        assert_eq!(read(full), Ok(expected.clone()));
        assert_eq!(read(""), Ok(Backoff::default()));
        assert!(read("factor = 2").is_err());
        assert!(read("base = 20").is_err());
        let text = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<Backoff>(&text).unwrap(), expected);
    }
}
