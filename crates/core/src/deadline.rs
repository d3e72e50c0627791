//! The time a call has left, and its attempt number, as headers carry them.
//!
//! Everything here reads bytes from the network: nothing panics, and what is not exactly in the format is no
//! value. A caller that can't be understood gets the server's own limit, never a longer one.

use std::time::Duration;

use crate::outcome::Pushback;

/// The longest time left that a header can give: 24 h. More is taken as this.
///
/// Nobody waits a day for a call; a value like this is a mistake, and must not reach a timer as years.
pub const MAX: Duration = Duration::from_secs(24 * 3_600);

/// The most attempts a header can claim: 1000. More is taken as this.
pub const MAX_ATTEMPTS: u32 = 1_000;

/// Time for the answer's way back, and for the caller's own work after it.
const LEAST_MARGIN: Duration = Duration::from_millis(5);

/// Reads `grpc-timeout`: one to eight digits and a unit of `H M S m u n`, [`MAX`] at most.
///
/// Source: "gRPC over HTTP2", rule `TimeoutValue TimeoutUnit`. Zero is accepted, as gRPC's own libraries do: the
/// time is up.
pub fn parse_grpc_timeout(header: &[u8]) -> Option<Duration> {
    let (unit, digits) = header.split_last()?;
    if digits.len() > 8 {
        return None;
    }
    let nanos = UNITS.iter().find(|(name, _)| name == unit)?.1;
    // Eight digits of hours are 3.6e20 ns: past u64, and past the limit long before.
    let left = Duration::from_nanos(parse_digits(digits)?.saturating_mul(nanos));
    Some(left.min(MAX))
}

/// Reads `x-envoy-expected-rq-timeout-ms`: milliseconds in decimal digits, [`MAX`] at most.
///
/// Zero is no value: to Envoy a time-out of zero means that there is none.
pub fn parse_envoy_timeout(header: &[u8]) -> Option<Duration> {
    let millis = parse_digits(header).filter(|millis| *millis > 0)?;
    Some(Duration::from_millis(millis).min(MAX))
}

/// Reads a count of attempts such as `grpc-previous-rpc-attempts`: digits, [`MAX_ATTEMPTS`] at most.
pub fn parse_attempts(header: &[u8]) -> Option<u32> {
    let count = parse_digits(header)?.min(u64::from(MAX_ATTEMPTS));
    u32::try_from(count).ok()
}

/// Reads the seconds form of `Retry-After` (RFC 9110, 10.2.3), [`MAX`] at most.
pub fn parse_retry_after_seconds(header: &[u8]) -> Option<Duration> {
    parse_digits(header).map(|seconds| Duration::from_secs(seconds).min(MAX))
}

/// Reads `grpc-retry-pushback-ms`: after so many milliseconds, or never.
///
/// gRPC's proposal A6 has a signed 32-bit number without needless zeros in front, and says that a negative or
/// unreadable value asks not to retry at all. So this always has an answer.
pub fn parse_pushback_ms(header: &[u8]) -> Pushback {
    let needless_zero = header.len() > 1 && header[0] == b'0';
    match parse_digits(header) {
        Some(millis) if i32::try_from(millis).is_ok() && !needless_zero => {
            Pushback::After(Duration::from_millis(millis))
        }
        _ => Pushback::Never,
    }
}

/// What a hop keeps of the time it was given: 5 ms or 1 %, whichever is more, and half at most.
///
/// Without it, the caller's time is up in the moment the answer is sent.
pub fn margin(remaining: Duration) -> Duration {
    (remaining / 100).max(LEAST_MARGIN).min(remaining / 2)
}

/// What is left for the next hop.
pub fn less_margin(remaining: Duration) -> Duration {
    remaining.saturating_sub(margin(remaining))
}

/// A value for `grpc-timeout`, in the finest unit that fits eight digits, rounded down.
///
/// ```
/// # use std::time::Duration;
/// use backstay_core::deadline::GrpcTimeout;
///
/// assert_eq!(GrpcTimeout::new(Duration::from_millis(250)).as_str(), "250000u");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrpcTimeout {
    text: [u8; 9],
    start: usize,
}

impl GrpcTimeout {
    /// The header for a call with this much time left.
    pub fn new(left: Duration) -> Self {
        let in_unit = |(name, unit): &(u8, u64)| {
            let value = u32::try_from(left.as_nanos() / u128::from(*unit)).ok()?;
            (value < 100_000_000).then_some((value, *name))
        };
        // Eight digits of hours are 11 000 years.
        let (mut value, unit) = UNITS.iter().find_map(in_unit).unwrap_or((99_999_999, b'H'));
        // Written from the right: the unit, then the digits from the last.
        let mut header = Self {
            text: [unit; 9],
            start: 8,
        };
        loop {
            header.start -= 1;
            header.text[header.start] = b"0123456789"[(value % 10) as usize];
            value /= 10;
            if value == 0 {
                return header;
            }
        }
    }

    /// The header's text.
    pub fn as_str(&self) -> &str {
        // Only digits and a letter were written.
        std::str::from_utf8(&self.text[self.start..]).unwrap_or_default()
    }
}

/// gRPC's units and their nanoseconds, the finest first.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// One digit or more and nothing else; `u64::MAX` if it is more than that.
fn parse_digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn any_duration() -> impl Strategy<Value = Duration> {
        let nanos =
            (any::<u64>(), 0u32..64).prop_map(|(n, shift)| Duration::from_nanos(n >> shift));
        prop_oneof![3 => nanos, 1 => (any::<u64>(), 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n))]
    }

    /// Anything, and what is nearly right.
    fn any_header() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[-+ 0-9]{0,12}[HMSmunX]?".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        /// CALL-22, CALL-23: no bytes make a reader panic, and none gives more than the limits.
        #[test]
        fn takes_any_bytes(header in any_header()) {
            prop_assert!(parse_grpc_timeout(&header).is_none_or(|left| left <= MAX));
            prop_assert!(parse_envoy_timeout(&header).is_none_or(|left| left <= MAX));
            prop_assert!(parse_retry_after_seconds(&header).is_none_or(|wait| wait <= MAX));
            prop_assert!(parse_attempts(&header).is_none_or(|count| count <= MAX_ATTEMPTS));
            prop_assert!(parse_pushback_ms(&header) != Pushback::Unstated);
        }

        /// CALL-22: what is sent is never longer than what is left, and loses less than 1 in 10 000 up to the limit.
        #[test]
        fn a_timeout_survives_the_way(left in any_duration()) {
            let header = GrpcTimeout::new(left);
            prop_assert!(header.as_str().len() <= 9);
            let read = parse_grpc_timeout(header.as_str().as_bytes());
            prop_assert!(read.is_some_and(|read| read <= left), "{header:?}");
            let lost = left.min(MAX).saturating_sub(read.unwrap_or_default());
            prop_assert!(lost <= left.min(MAX) / 10_000, "{lost:?} of {left:?}");
        }

        /// CALL-22: the margin is 1 % or 5 ms, never more than half.
        #[test]
        fn the_margin_leaves_half(left in any_duration()) {
            let margin = margin(left);
            prop_assert!(margin <= left / 2);
            prop_assert!(margin == left / 2 || margin >= MS(5) && margin >= left / 100);
            prop_assert_eq!(less_margin(left) + margin, left);
        }
    }

    /// CALL-22: gRPC's format to the letter.
    #[test]
    fn grpc_timeouts() {
        let read = |text: &str| parse_grpc_timeout(text.as_bytes());
        for (text, left) in [
            ("1H", MS(3_600_000)),
            ("2M", MS(120_000)),
            ("3S", MS(3_000)),
            ("004m", MS(4)),
            ("5u", Duration::from_micros(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("0S", Duration::ZERO),
            ("25H", MAX),
            ("99999999H", MAX),
        ] {
            assert_eq!(read(text), Some(left), "{text}");
        }
        for bad in [
            "",
            "S",
            "1",
            "1s",
            "1h",
            "-1S",
            "+1S",
            " 1S",
            "1S ",
            "1 S",
            "1.5S",
            "123456789n",
            "1SS",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(parse_grpc_timeout(b"\xff1S"), None);
    }

    /// CALL-22: the finest unit of eight digits, rounded down.
    #[test]
    fn grpc_timeouts_are_written() {
        for (left, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_micros(100_000_999), "100000m"),
            (Duration::from_secs(99_999), "99999000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::from_secs(6_000_000_000), "1666666H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(GrpcTimeout::new(left).as_str(), text);
        }
    }

    /// CALL-22: Envoy's header is digits; zero means no time-out there, and absurd values are a day.
    #[test]
    fn envoy_timeouts() {
        let read = |text: &str| parse_envoy_timeout(text.as_bytes());
        assert_eq!(read("1500"), Some(MS(1_500)));
        assert_eq!(read("86400001"), Some(MAX));
        assert_eq!(read("99999999999999999999999"), Some(MAX));
        for bad in ["", "0", "-1", "1.5", "1s", " 1", "1e3"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    /// CALL-23: attempts are digits and bounded.
    #[test]
    fn attempts() {
        let read = |text: &str| parse_attempts(text.as_bytes());
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("3"), Some(3));
        assert_eq!(read("1001"), Some(1_000));
        assert_eq!(read("99999999999999999999999"), Some(1_000));
        for bad in ["", "-1", "two", "1 "] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    /// CALL-13: the seconds form of Retry-After.
    #[test]
    fn retry_after() {
        let read = |text: &str| parse_retry_after_seconds(text.as_bytes());
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read("120"), Some(MS(120_000)));
        assert_eq!(read("86401"), Some(MAX));
        assert_eq!(read("Tue, 24 Nov 2026 07:00:00 GMT"), None);
    }

    /// CALL-13: gRPC A6: negative or unreadable means not at all.
    #[test]
    fn pushback() {
        let read = |text: &str| parse_pushback_ms(text.as_bytes());
        assert_eq!(read("0"), Pushback::After(Duration::ZERO));
        assert_eq!(read("2147483647"), Pushback::After(MS(2_147_483_647)));
        for never in [
            "",
            "-1",
            "2147483648",
            "007",
            "+5",
            "soon",
            "1.5",
            "99999999999999999999",
        ] {
            assert_eq!(read(never), Pushback::Never, "{never:?}");
        }
    }
}
