use std::ops::RangeInclusive;
use std::time::Duration;

use backstay_core::Invalid;

use super::worker::Clock;

/// How a worker works.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) group: String,
    pub(super) limit: usize,
    pub(super) ttl: Duration,
    pub(super) remember: Duration,
    pub(super) is_volatile_allowed: bool,
    pub(super) clock: Clock,
    #[cfg(feature = "test-util")]
    pub(super) plan: Option<std::sync::Arc<crate::testkit::Plan>>,
}

/// A lost process is replaced after so long at most; a stopped one that wakes is fenced.
const TTL: Duration = Duration::from_secs(10);
/// More at once help no dependency, and each holds its state in memory.
const LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 1_000_000;
/// Long enough to look into a failure after a weekend.
pub(crate) const REMEMBER: Duration = Duration::from_secs(7 * 24 * 3_600);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3_600);

pub(crate) const GROUP: &str = "default";

impl Default for Options {
    fn default() -> Self {
        Self {
            group: GROUP.to_owned(),
            limit: LIMIT,
            ttl: TTL,
            remember: REMEMBER,
            is_volatile_allowed: false,
            clock: Clock::default(),
            #[cfg(feature = "test-util")]
            plan: None,
        }
    }
}

impl Options {
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        if crate::graph::check_name("group", &self.group).is_err() {
            let limit = "has 1 to 64 characters of a-z, A-Z, 0-9, `-`, `_` and `.`";
            return Err(Invalid::new("group", format!("{:?}", self.group), limit));
        }
        if !(1..=MAX_LIMIT).contains(&self.limit) {
            let limit = format!("must be in 1..={MAX_LIMIT}");
            return Err(Invalid::new("limit", self.limit, limit));
        }
        let ttls = Duration::from_millis(300)..=Duration::from_secs(3_600);
        check_time("ttl", self.ttl, &ttls)?;
        check_remember(self.remember)
    }
}

pub(crate) fn check_remember(time: Duration) -> Result<(), Invalid> {
    check_time("remember", time, &(Duration::from_secs(1)..=YEAR))
}

fn check_time(
    field: &'static str,
    time: Duration,
    allowed: &RangeInclusive<Duration>,
) -> Result<(), Invalid> {
    if allowed.contains(&time) {
        return Ok(());
    }
    let limit = format!("must be in {:?}..={:?}", allowed.start(), allowed.end());
    Err(Invalid::new(field, format!("{time:?}"), limit))
}
