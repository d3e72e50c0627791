use std::fmt;
use std::time::Duration;

use backstay_core::{Invalid, Moment};

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Homes count in milliseconds and may cut off the rest, of the moment and of the time.
pub(crate) const LEAST_MARGIN: Duration = Duration::from_millis(2);
const MOST_DRIFT: f64 = 0.1;
/// Renewals come by so much sooner or later, as a share of the time between them.
const RENEW_SPREAD: f64 = 0.1;

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Timing {
    pub(crate) ttl: Duration,
    pub(crate) renew_every: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) drain: Duration,
    pub(crate) margin: Duration,
    pub(crate) drift: f64,
}

impl Timing {
    /// What follows from a time to live, where nothing else is said.
    pub(crate) fn of(ttl: Duration) -> Self {
        Self {
            ttl,
            renew_every: ttl / 4,
            request_timeout: ttl / 5,
            drain: ttl / 10,
            margin: Ord::max(ttl / 100, LEAST_MARGIN),
            drift: 0.01,
        }
    }

    /// Refuses times under which two could lead at once, or one lost answer would end a term.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if !(SHORTEST..=LONGEST).contains(&self.ttl) {
            let limit = format!("must be in {SHORTEST:?}..={LONGEST:?}");
            return Err(Invalid::new("ttl", format!("{:?}", self.ttl), limit));
        }
        let short = Duration::from_millis(1);
        self.within_ttl("renew_every", self.renew_every, short)?;
        self.within_ttl("request_timeout", self.request_timeout, short)?;
        self.within_ttl("drain", self.drain, short)?;
        self.within_ttl("margin", self.margin, LEAST_MARGIN)?;
        if !(0.0..=MOST_DRIFT).contains(&self.drift) {
            let limit = format!("must be in 0..={MOST_DRIFT}");
            return Err(Invalid::new("drift", self.drift, limit));
        }
        let needed = self.latest_renewal() + 2 * self.request_timeout + self.drain;
        let there = self.held_for();
        if needed > there {
            let limit = format!(
                "must leave room: a late renewal ({:?}), two requests ({:?} each) and drain ({:?}) are {:?} together, \
                 and of a ttl of {:?} drift and margin leave {:?}",
                shown(self.latest_renewal()),
                self.request_timeout,
                self.drain,
                // Not equal where they differ by less than is shown.
                whole_millis(needed + Duration::from_nanos(999_999)),
                self.ttl,
                whole_millis(there),
            );
            let (field, value) = self.too_much();
            return Err(Invalid::new(field, format!("{value:?}"), limit));
        }
        Ok(())
    }

    /// What was set to more than follows from the time to live, by the most; else that time.
    fn too_much(&self) -> (&'static str, Duration) {
        let usual = Self::of(self.ttl);
        [
            ("renew_every", self.renew_every, usual.renew_every),
            (
                "request_timeout",
                self.request_timeout,
                usual.request_timeout,
            ),
            ("drain", self.drain, usual.drain),
            ("margin", self.margin, usual.margin),
        ]
        .into_iter()
        .filter(|(_, given, usual)| given > usual)
        .max_by_key(|(_, given, usual)| given.saturating_sub(*usual))
        .map_or(("ttl", self.ttl), |(field, given, _)| (field, given))
    }

    fn within_ttl(&self, field: &str, value: Duration, least: Duration) -> Result<(), Invalid> {
        if (least..=self.ttl).contains(&value) {
            return Ok(());
        }
        let limit = format!(
            "must be at least {least:?} and at most the ttl, {:?}",
            self.ttl
        );
        Err(Invalid::new(field, format!("{value:?}"), limit))
    }

    /// From before it was asked for until the holder takes it for over, however the two clocks differ.
    pub(crate) fn held_for(&self) -> Duration {
        let drift = self.ttl.mul_f64(self.drift) + Duration::from_nanos(1);
        self.ttl.saturating_sub(drift).saturating_sub(self.margin)
    }

    /// Until when a lease is held that was asked for at a moment.
    pub(crate) fn span(&self, asked: Moment) -> Span {
        let valid_until = asked.plus(self.held_for());
        Span {
            stop_at: valid_until.minus(self.drain),
            valid_until,
        }
    }

    fn latest_renewal(&self) -> Duration {
        self.renew_every.mul_f64(1.0 + RENEW_SPREAD)
    }

    /// From one renewal to the next; `random` is in 0..1, here and below.
    pub(crate) fn until_renewal(&self, random: f64) -> Duration {
        self.renew_every
            .mul_f64(1.0 - RENEW_SPREAD + 2.0 * RENEW_SPREAD * random)
    }

    /// After a renewal that failed.
    pub(crate) fn until_renewal_again(&self, random: f64) -> Duration {
        between(self.renew_every / 8, self.renew_every / 4, random)
    }

    /// After hearing that the lease is held for so long. They who wait for it do not all ask at once.
    pub(crate) fn until_free(&self, left: Option<Duration>, random: f64) -> Duration {
        match left {
            Some(left) => left + between(Duration::ZERO, self.spread(), random),
            None => between(self.ttl / 16, self.ttl / 8, random),
        }
    }

    fn spread(&self) -> Duration {
        self.ttl / 20
    }

    /// After the home could not be asked: all candidates have noticed it together.
    pub(crate) fn until_campaign_again(&self, random: f64) -> Duration {
        between(self.ttl / 30, self.ttl / 3, random)
    }
}

fn between(least: Duration, most: Duration, random: f64) -> Duration {
    least + most.saturating_sub(least).mul_f64(random)
}

/// A time for people, to the nearest millisecond.
fn shown(time: Duration) -> Duration {
    whole_millis(time + Duration::from_micros(500))
}

fn whole_millis(time: Duration) -> Duration {
    Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000)
}

/// How long a holder may act, by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// From here on its work is being stopped.
    pub(crate) stop_at: Moment,
    /// From here on it may not act at all.
    pub(crate) valid_until: Moment,
}

/// Why two never lead at once, and how long it can take until one does. For people: print it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub(crate) name: String,
    pub(crate) timing: Timing,
}

impl Explanation {
    /// From before a leader asked until it has stopped its work, by its own clock.
    pub fn stops_after(&self) -> Duration {
        self.timing.held_for().saturating_sub(self.timing.drain)
    }

    /// From a leader's death to the next leader, where the home answers in time and can tell how long a lease is held.
    ///
    /// A request of a candidate that gave up and that arrives much later can add the time to live once.
    pub fn failover(&self) -> Duration {
        self.until_taken() + self.timing.spread()
    }

    /// The same, where the home can't tell how long a lease is held.
    pub fn failover_by_looking(&self) -> Duration {
        self.until_taken() + self.timing.ttl / 8
    }

    fn until_taken(&self) -> Duration {
        let Timing {
            ttl,
            drift,
            request_timeout,
            ..
        } = self.timing;
        // The renewal that was on its way when it died, and the next leader's question.
        ttl + ttl.mul_f64(drift) + 2 * request_timeout
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timing {
            ttl,
            request_timeout,
            drain,
            margin,
            drift,
            ..
        } = self.timing;
        let (name, held) = (&self.name, shown(self.timing.held_for()));
        let (stops, late) = (
            shown(self.stops_after()),
            shown(self.timing.latest_renewal()),
        );
        let percent = drift * 100.0;
        writeln!(
            f,
            "lease {name:?}: lasts {ttl:?}, is renewed at least every {late:?}, and each request may take {request_timeout:?}"
        )?;
        writeln!(
            f,
            "no overlap: counted from before it asked and by its own clock, a leader has stopped its work after {stops:?} \
             ({drain:?} before the end) and gives up at {held:?}; with clocks that differ by {percent} % that is \
             {margin:?} before anybody else can have it"
        )?;
        writeln!(
            f,
            "one lost answer ends no term: {late:?} + 2 x {request_timeout:?} <= {stops:?}"
        )?;
        write!(
            f,
            "worst-case failover: {:?} where the home tells how long a lease is held, else {:?}",
            shown(self.failover()),
            shown(self.failover_by_looking())
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Times that are accepted, near the edge too: parts of what a lease leaves.
    fn times() -> impl Strategy<Value = Timing> {
        let parts = (0.2..1.0_f64, 0.2..1.0_f64, 0.2..1.0_f64, 0.3..0.999_f64);
        let times = (100..86_400_000_u64, parts, 0.0..0.1_f64, 0.0..=MOST_DRIFT);
        times.prop_map(|(ttl, (renew, request, drain, all), margin, drift)| {
            let ttl = Duration::from_millis(ttl);
            let margin = Ord::max(ttl.mul_f64(margin), LEAST_MARGIN);
            let timing = Timing {
                margin,
                drift,
                ..Timing::of(ttl)
            };
            let part = timing.held_for().mul_f64(all / (renew + request + drain));
            Timing {
                renew_every: part.mul_f64(renew / (1.0 + RENEW_SPREAD)),
                request_timeout: part.mul_f64(request / 2.0),
                drain: part.mul_f64(drain),
                ..timing
            }
        })
    }

    proptest! {
        /// LEA-1, LEA-5: whatever is accepted, the holder gives up before the home gives the lease to another, however
        /// late the home has counted from and however fast or slow the two clocks go, within the drift.
        #[test]
        fn accepted_times_never_overlap(
            timing in times(),
            asked in 0..u64::from(u32::MAX),
            on_its_way in 0..u64::from(u32::MAX),
            rate in -1.0..=1.0_f64,
        ) {
            prop_assert_eq!(timing.check(), Ok(()));
            let span = timing.span(Moment::from_nanos(asked));
            // The home counts from later than the holder asked, cuts off a millisecond of the moment, and its clock
            // runs by so much faster than the holder's.
            let ran = timing.ttl.as_secs_f64() / (1.0 + rate * timing.drift / (1.0 + timing.drift));
            let taken = Moment::from_nanos(asked + on_its_way)
                .plus(Duration::from_secs_f64(ran))
                .minus(Duration::from_millis(1));
            prop_assert!(span.valid_until < taken, "{span:?} {taken:?}");
            prop_assert!(span.stop_at < span.valid_until);
        }

        /// LEA-4, LEA-5: after a lost renewal there is time for another before the work is stopped.
        #[test]
        fn a_lost_answer_ends_no_term(timing in times(), random in 0.0..1.0_f64) {
            prop_assert_eq!(timing.check(), Ok(()));
            let stop_at = timing.span(Moment::default()).stop_at;
            let first = Moment::default().plus(timing.until_renewal(random));
            let second = first.plus(timing.request_timeout);
            prop_assert!(second.plus(timing.request_timeout) <= stop_at);
        }

        /// LEA-5: the times that follow from a time to live are good.
        #[test]
        fn defaults_are_accepted(ttl in 100..=86_400_000_u64) {
            prop_assert_eq!(Timing::of(Duration::from_millis(ttl)).check(), Ok(()));
        }
    }

    /// LEA-5: what can't be is refused, with the field and the reason.
    #[test]
    fn bad_times_are_refused() {
        let good = Timing::of(Duration::from_secs(3));
        let refused = |timing: Timing| timing.check().expect_err("it is bad").to_string();
        let hour = Duration::from_secs(3600);
        assert_eq!(
            refused(Timing {
                ttl: Duration::from_millis(99),
                ..good
            }),
            "ttl = 99ms: must be in 100ms..=86400s"
        );
        assert_eq!(
            refused(Timing {
                renew_every: hour,
                ..good
            }),
            "renew_every = 3600s: must be at least 1ms and at most the ttl, 3s"
        );
        assert_eq!(
            refused(Timing {
                margin: Duration::ZERO,
                ..good
            }),
            "margin = 0ns: must be at least 2ms and at most the ttl, 3s"
        );
        assert_eq!(
            refused(Timing {
                drift: f64::NAN,
                ..good
            }),
            "drift = NaN: must be in 0..=0.1"
        );
        assert_eq!(
            refused(Timing {
                renew_every: Duration::from_secs(2),
                drain: Duration::from_millis(301),
                ..good
            }),
            "renew_every = 2s: must leave room: a late renewal (2.2s), two requests (600ms each) and drain (301ms) are \
             3.701s together, and of a ttl of 3s drift and margin leave 2.939s"
        );
        // More drift and no more than usual of the rest.
        let refused = refused(Timing {
            request_timeout: Duration::from_millis(31),
            drift: 0.1,
            ..Timing::of(Duration::from_millis(100))
        });
        assert!(refused.starts_with("request_timeout = 31ms"), "{refused}");
    }

    #[test]
    fn the_explanation_is_for_people() {
        let explanation = Explanation {
            name: "sweeper".to_owned(),
            timing: Timing::of(Duration::from_secs(10)),
        };
        let text = explanation.to_string();
        for part in [
            "lease \"sweeper\": lasts 10s",
            "no overlap",
            "one lost answer",
            "has stopped its work after 8.8s",
            "gives up at 9.8s",
            "failover: 14.6s",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}
