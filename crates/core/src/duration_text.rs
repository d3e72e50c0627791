//! Durations as people write them: `"250ms"`, `"1.5s"`, `"2m"`, `"1h 30m"`.
//!
//! For `#[serde(with = "backstay_core::duration_text")]`. A bare number is refused: one reader takes it for
//! seconds, the next for milliseconds, and the mistake is a factor of a thousand.

use std::fmt;
use std::time::Duration;

use jiff::fmt::friendly::{SpanParser, SpanPrinter};
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;

const ALLOWED: &str = "a duration with a unit, such as \"250ms\", \"1.5s\", \"2m\" or \"1h 30m\"";

/// Writes the duration as text.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&text(*duration))
}

/// Reads a duration that is not negative.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from.deserialize_str(Text)
}

/// The same for an `Option<Duration>`; name it beside `#[serde(default)]`.
pub mod option {
    use super::{Deserializer, Duration, Error, Serializer, Text, Visitor, fmt};

    /// Writes the duration as text, if there is one.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => to.serialize_some(&super::text(*duration)),
            None => to.serialize_none(),
        }
    }

    /// Reads a duration that is not negative, or nothing.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        from.deserialize_option(Maybe)
    }

    struct Maybe;

    impl<'de> Visitor<'de> for Maybe {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            Text.expecting(f)
        }
        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
            from.deserialize_str(Text).map(Some)
        }
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        SpanParser::new()
            .parse_duration(text)
            .ok()
            .and_then(|signed| Duration::try_from(signed).ok())
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// What is read back as the same duration.
fn text(duration: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&duration)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Options {
        #[serde(with = "crate::duration_text")]
        wait: Duration,
        #[serde(default, with = "crate::duration_text::option")]
        rest: Option<Duration>,
    }

    fn json(value: &str) -> Result<Duration, String> {
        serde_json::from_str::<Options>(&format!("{{\"wait\": {value}}}"))
            .map(|options| options.wait)
            .map_err(|error| error.to_string())
    }

    fn toml(value: &str) -> Result<Duration, String> {
        toml::from_str::<Options>(&format!("wait = {value}"))
            .map(|options| options.wait)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [
            ("\"0s\"", 0),
            ("\"250ms\"", 250),
            ("\"1.5s\"", 1_500),
            ("\"2m\"", 120_000),
            ("\"1h 30m\"", 5_400_000),
            ("\"1h30m\"", 5_400_000),
        ] {
            let expected = Ok(Duration::from_millis(millis));
            assert_eq!(json(text), expected, "{text}");
            assert_eq!(toml(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        for bad in [
            "\"\"",
            "\"250\"",
            "\"-1s\"",
            "\"1s ago\"",
            "\"soon\"",
            "250",
            "-250",
            "2.5",
            "\"1 mo\"",
            "\"99999999999999999999h\"",
        ] {
            for error in [json(bad), toml(bad)].map(Result::unwrap_err) {
                assert!(error.contains(bad), "{error} should quote {bad}");
                assert!(error.contains(ALLOWED), "{error}");
            }
        }
    }

    #[test]
    fn an_option_may_be_missing() {
        let read = |text| toml::from_str::<Options>(text).map(|options| options.rest);
        assert_eq!(read("wait = '1s'"), Ok(None));
        let rest = Some(Duration::from_millis(30));
        assert_eq!(read("wait = '1s'\nrest = '30ms'"), Ok(rest));
        assert!(read("wait = '1s'\nrest = 30").is_err());
        let null = serde_json::from_str::<Options>(r#"{"wait": "1s", "rest": null}"#);
        assert_eq!(null.unwrap().rest, None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0u64..1 << 40, nanos in 0u32..1_000_000_000) {
            let wait = Duration::new(seconds, nanos);
            let options = Options { wait, rest: Some(wait) };
            let text = serde_json::to_string(&options).unwrap();
            prop_assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
        }
    }
}
