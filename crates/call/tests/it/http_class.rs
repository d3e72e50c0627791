//! What HTTP responses and errors mean.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use backstay_call::{Class, Classify, Effect, HttpClassifier, Pushback};
use http::{HeaderValue, Response};
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn class(status: u16, headers: &[(&'static str, &str)]) -> Class {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    HttpClassifier.classify(&Ok::<_, io::Error>(response.body(()).unwrap()))
}

fn overloaded(pushback: Pushback) -> Class {
    let effect = Effect::NotExecuted;
    Class::Overloaded { effect, pushback }
}

/// CALL-2: what each status means.
#[test]
fn classifies_by_status() {
    for (statuses, expected) in [
        (&[101, 200, 204, 302, 304, 399][..], Class::Success),
        (
            &[408, 500, 502, 503, 504, 507, 599],
            Class::Transient(Effect::Unknown),
        ),
        (&[501, 505], Class::Permanent(Effect::NotExecuted)),
        (
            &[400, 401, 404, 409, 422, 499],
            Class::Ignored(Effect::NotExecuted),
        ),
        (&[429], overloaded(Pushback::Unstated)),
    ] {
        for status in statuses {
            assert_eq!(class(*status, &[]), expected, "{status}");
        }
    }
}

/// CALL-2, CALL-13: Retry-After in both forms, gRPC's push-back before it, nothing from what can't be read.
#[test]
fn reads_when_to_come_back() {
    let after = |seconds| Pushback::After(Duration::from_secs(seconds));
    for (header, expected) in [
        ("120", after(120)),
        ("0", after(0)),
        ("99999999999999999999999", Pushback::After(24 * HOUR)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Pushback::After(24 * HOUR)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", after(0)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", after(0)),
        ("soon", Pushback::Unstated),
        ("-1", Pushback::Unstated),
        ("1.5", Pushback::Unstated),
        ("", Pushback::Unstated),
        ("Sun, 99 Nov 1994 08:49:37 GMT", Pushback::Unstated),
    ] {
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(
                class(status, &[("retry-after", header)]),
                Class::Overloaded {
                    effect: if status == 429 {
                        Effect::NotExecuted
                    } else {
                        Effect::Unknown
                    },
                    pushback: expected,
                },
                "{status} {header:?}"
            );
        }
    }
    let both = |millis| {
        class(
            503,
            &[("retry-after", "9"), ("grpc-retry-pushback-ms", millis)],
        )
    };
    for (millis, pushback) in [
        ("1500", Pushback::After(Duration::from_millis(1_500))),
        ("-1", Pushback::Never),
    ] {
        let effect = Effect::Unknown;
        assert_eq!(both(millis), Class::Overloaded { effect, pushback });
    }
}

/// CALL-2: 409 for an earlier attempt that still runs is a wait for its answer; any other is the caller's fault.
#[test]
fn an_earlier_attempt_that_runs_is_waited_for() {
    let (when, unknown) = (("retry-after", "1"), ("backstay-effect", "unknown"));
    let waits = Class::Overloaded {
        effect: Effect::Unknown,
        pushback: Pushback::After(Duration::from_secs(1)),
    };
    assert_eq!(class(409, &[when, unknown]), waits);
    let (not_executed, executed) = (
        ("backstay-effect", "not-executed"),
        ("backstay-effect", "executed"),
    );
    for (headers, effect) in [
        (&[when][..], Effect::NotExecuted),
        (&[unknown], Effect::Unknown),
        (&[when, not_executed], Effect::NotExecuted),
        (&[when, executed], Effect::Executed),
    ] {
        assert_eq!(class(409, headers), Class::Ignored(effect), "{headers:?}");
    }
    let other = class(422, &[when, unknown]);
    assert_eq!(other, Class::Ignored(Effect::Unknown));
}

/// CALL-2: a server that knows what it did is believed.
#[test]
fn a_stated_effect_goes_before_the_status() {
    for (text, effect) in [
        ("not-executed", Effect::NotExecuted),
        ("unknown", Effect::Unknown),
        ("executed", Effect::Executed),
    ] {
        let stated = |status| class(status, &[("backstay-effect", text)]);
        assert_eq!(stated(504), Class::Transient(effect));
        assert_eq!(stated(503), Class::Transient(effect));
        let when = class(503, &[("backstay-effect", text), ("retry-after", "1")]);
        let pushback = Pushback::After(Duration::from_secs(1));
        assert_eq!(when, Class::Overloaded { effect, pushback });
        assert_eq!(stated(500), Class::Transient(effect));
        for status in [400, 404, 409, 410, 422, 499] {
            assert_eq!(stated(status), Class::Ignored(effect), "{status}");
        }
        assert_eq!(stated(501), Class::Permanent(effect));
        let pushback = Pushback::Unstated;
        assert_eq!(stated(429), Class::Overloaded { effect, pushback });
        assert_eq!(stated(200), Class::Success);
    }
    let rubbish = class(504, &[("backstay-effect", "perhaps")]);
    assert_eq!(rubbish, Class::Transient(Effect::Unknown));
}

proptest! {
    /// CALL-2: no bytes from the network make the classifier panic or wait longer than a day.
    #[test]
    fn takes_any_header(bytes in prop::collection::vec(any::<u8>(), 0..40), status in 100u16..1_000) {
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let mut response = Response::builder().status(status).header("retry-after", value.clone());
        response = response.header("backstay-effect", value);
        let class = HttpClassifier.classify(&Ok::<_, io::Error>(response.body(()).unwrap()));
        if let Class::Overloaded { pushback: Pushback::After(wait), .. } = class {
            prop_assert!(wait <= 24 * HOUR);
        }
    }
}

/// Wraps a cause, as clients do; or is its own.
#[derive(Debug)]
struct Wrapped(Option<io::Error>);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map_or(Some(self), |error| Some(error))
    }
}

/// CALL-2: only an error that says there was no connection has no effect, however deep it says so.
#[test]
fn a_refused_connection_is_not_executed() {
    let effect = |error: Wrapped| {
        HttpClassifier
            .classify(&Err::<Response<()>, _>(error))
            .effect()
    };
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(effect(Wrapped(Some(refused()))), Effect::NotExecuted);
    let deep = io::Error::other(Wrapped(Some(io::Error::other(refused()))));
    assert_eq!(effect(Wrapped(Some(deep))), Effect::NotExecuted);
    let reset = io::ErrorKind::ConnectionReset.into();
    assert_eq!(effect(Wrapped(Some(reset))), Effect::Unknown);
    assert_eq!(effect(Wrapped(None)), Effect::Unknown, "its own cause");
}
