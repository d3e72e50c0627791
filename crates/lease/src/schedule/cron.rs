//! Cron texts on a time zone's wall clock.

use std::cmp::Ordering;
use std::fmt;

use croner::errors::CronError;
use croner::parser::CronParser;
use croner::{CivilDateTime, Cron, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ZonedDateTime};

use backstay_core::Invalid;
use backstay_store::Timestamp;

/// When a job is due.
#[derive(Clone)]
pub(super) struct Times {
    cron: Cron,
    text: String,
    zone: TimeZone,
    zone_name: String,
}

impl Times {
    pub(super) fn new(field: &str, text: &str, zone: &str) -> Result<Self, Invalid> {
        let invalid = |part: &str, value: &str, limit: String| {
            let shown: String = value.chars().take(100).collect();
            Invalid::new(format!("{field}.{part}"), format!("{shown:?}"), limit)
        };
        let cron = CronParser::new().parse(text).map_err(|error| {
            let why = error.to_string();
            let why = why.trim_end_matches('.');
            invalid(
                "cron",
                text,
                format!("must be five fields of cron, or six that begin with seconds: {why}"),
            )
        })?;
        let found = TimeZone::get(zone).map_err(|_| {
            let limit = "must be the name of a time zone, such as Europe/Berlin";
            invalid("zone", zone, limit.to_owned())
        })?;
        let times = Self {
            cron,
            text: text.to_owned(),
            zone: found,
            zone_name: zone.to_owned(),
        };
        if times.after(Timestamp::default()).is_none() {
            let limit = "must be a time that there is".to_owned();
            return Err(invalid("cron", text, limit));
        }
        Ok(times)
    }

    /// As it was given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn zone(&self) -> &str {
        &self.zone_name
    }

    /// The first time after a moment; none if there is none.
    pub(super) fn after(&self, after: Timestamp) -> Option<Timestamp> {
        let from = self.local(after)?;
        self.cron
            .find_next_occurrence(&from, false)
            .ok()?
            .timestamp()
    }

    /// The last time at a moment or before; none if there is none.
    pub(super) fn at_or_before(&self, until: Timestamp) -> Option<Timestamp> {
        let from = self.local(until)?;
        self.cron
            .find_previous_occurrence(&from, true)
            .ok()?
            .timestamp()
    }

    /// A moment on the wall clock, to the second: cron knows no less.
    fn local(&self, moment: Timestamp) -> Option<Local> {
        let seconds = i64::try_from(moment.as_millis() / 1_000).ok()?;
        let moment = jiff::Timestamp::from_second(seconds).ok()?;
        Some(Local(moment.to_zoned_datetime(self.zone.clone())))
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.text, self.zone_name)
    }
}

/// What croner counts with.
#[derive(Clone)]
struct Local(ZonedDateTime);

impl Local {
    fn timestamp(&self) -> Option<Timestamp> {
        let millis = self.0.timestamp().as_millisecond();
        u64::try_from(millis).ok().map(Timestamp::from_millis)
    }
}

/// Parts of a date and a time are small.
fn part<T: TryFrom<U>, U>(part: U) -> Result<T, CronError> {
    T::try_from(part).map_err(|_| CronError::InvalidDate)
}

fn civil(at: DateTime) -> Result<CivilDateTime, CronError> {
    CivilDateTime::from_ymd_hms(
        i32::from(at.year()),
        part(at.month())?,
        part(at.day())?,
        part(at.hour())?,
        part(at.minute())?,
        part(at.second())?,
    )
}

impl CronDateTime for Local {
    fn to_civil(&self) -> CivilDateTime {
        civil(self.0.datetime()).expect("a date and time of the calendar")
    }

    fn civil_weekday(&self) -> Weekday {
        let days = self.0.weekday().to_sunday_zero_offset();
        Weekday::from_days_from_sunday(part(days).expect("0 to 6"))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let at = DateTime::new(
            part(civil.year())?,
            part(civil.month())?,
            part(civil.day())?,
            part(civil.hour())?,
            part(civil.minute())?,
            part(civil.second())?,
            0,
        );
        let at = at.map_err(|_| CronError::InvalidDate)?;
        let at = self.0.time_zone().to_ambiguous_zoned_datetime(at);
        let local = |zoned: Result<ZonedDateTime, jiff::Error>| {
            zoned.map(Self).map_err(|_| CronError::InvalidTime)
        };
        Ok(match at.offset() {
            AmbiguousOffset::Unambiguous { .. } => Resolution::Single(local(at.unambiguous())?),
            AmbiguousOffset::Fold { .. } => {
                Resolution::Ambiguous(local(at.clone().earlier())?, local(at.later())?)
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0
            .checked_add(SignedDuration::from_secs(seconds))
            .ok()
            .map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}
