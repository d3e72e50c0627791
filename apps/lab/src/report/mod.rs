//! What a run leaves behind: a table, `report.json`, and `report.html`.

pub(crate) mod folder;
pub(crate) mod history;
mod html;
pub(crate) mod live;
pub(crate) mod metrics;
pub(crate) mod table;
pub(crate) mod terminal;

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::engine::DEADLINE;
use crate::experiment::verdict::{Check, Verdict};

/// Raised when a field changes its meaning or goes.
pub(crate) const SCHEMA: u32 = 1;

/// One run, as `report.json` has it. Times are in the unit the name ends in.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report<M = Measured> {
    pub(crate) schema: u32,
    pub(crate) experiment: &'static str,
    pub(crate) seed: u64,
    pub(crate) verdict: Verdict,
    /// The checks that decided the verdict.
    pub(crate) reasons: Vec<String>,
    /// What happened, in a sentence or two.
    pub(crate) headline: String,
    /// Ended before its time; all numbers are of the part that ran.
    pub(crate) partial: bool,
    /// The rules and how each came out.
    pub(crate) checks: Vec<Check>,
    #[serde(flatten)]
    pub(crate) measured: M,
}

/// What an experiment measures, and how that is shown.
pub(crate) trait Results: Serialize {
    /// The middle of its page, and what draws it.
    const PAGE: Page;

    /// What was measured, for the terminal: one line, then a table and what its columns mean.
    fn table(&self) -> (String, String);
}

/// Parts of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) body: &'static str,
    pub(crate) script: &'static str,
}

/// What was measured, before anybody judges it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Measured {
    /// Share of the capacity that was offered.
    pub(crate) load: f64,
    pub(crate) deadline_ms: f64,
    /// None when the run ended before the capacity was known.
    pub(crate) offered_per_s: Option<f64>,
    pub(crate) capacity_per_s: Option<f64>,
    /// Capacity during the fault; none when there is no fault.
    pub(crate) capacity_left_per_s: Option<f64>,
    pub(crate) generator_lag_p99_ms: Option<f64>,
    /// Rates and quantiles leave out what was due before.
    pub(crate) counted_from_s: f64,
    pub(crate) fault: Option<FaultSpan>,
    /// How long the load lasted.
    pub(crate) length_s: f64,
    /// Calls due in each second.
    pub(crate) offered: Vec<usize>,
    pub(crate) arms: Vec<ArmReport>,
}

/// When capacity was cut, and to which share.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct FaultSpan {
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
    pub(crate) factor: f64,
}

/// One arm's numbers. Counts are over the whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ArmReport {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) goodput: Goodput,
    /// From the end of the fault to the start of the first 5 s at 95 % of offered; none when the watch saw none.
    pub(crate) recovery_s: Option<f64>,
    /// Attempts that reached the server, for each call.
    pub(crate) amplification: f64,
    pub(crate) amplification_during: Option<f64>,
    /// Services begun whose caller had left before the end.
    pub(crate) wasted: u64,
    /// Calls that never got an answer.
    pub(crate) lost: usize,
    /// Calls answered after the deadline.
    pub(crate) late: usize,
    pub(crate) calls: usize,
    /// Services slowed by the fault: the witness that it bit.
    pub(crate) slowed: u64,
    /// Quantiles of all offered calls; none where the quantile falls on a lost call. That is written as the
    /// deadline, so that each is a number, and said in `lost_quantiles`.
    #[serde(serialize_with = "or_deadline")]
    pub(crate) p50_ms: Option<f64>,
    #[serde(serialize_with = "or_deadline")]
    pub(crate) p99_ms: Option<f64>,
    #[serde(serialize_with = "or_deadline")]
    pub(crate) p999_ms: Option<f64>,
    /// Which of the quantiles fall on a lost call, by name.
    pub(crate) lost_quantiles: Vec<&'static str>,
    /// Processor time of client, server and generator together, where arms run one by one.
    pub(crate) cpu_us_per_call: Option<f64>,
    pub(crate) openings: Option<u64>,
    pub(crate) sheds: Option<u64>,
    pub(crate) series: Series,
}

/// Answers inside the deadline, a second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Goodput {
    pub(crate) before: Option<f64>,
    pub(crate) during: Option<f64>,
    pub(crate) after: Option<f64>,
}

/// One value for each second of the load.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Series {
    pub(crate) goodput: Vec<usize>,
    pub(crate) attempts: Vec<u32>,
    pub(crate) p50_ms: Vec<Option<f64>>,
    pub(crate) p99_ms: Vec<Option<f64>>,
}

impl Measured {
    /// How long the run was watched after the fault.
    pub(crate) fn watched_s(&self) -> f64 {
        self.fault
            .map_or(0.0, |fault| (self.length_s - fault.until_s).max(0.0))
    }

    /// When an arm was back; one that was not may have needed longer than the watch.
    pub(crate) fn back(&self, recovery_s: Option<f64>) -> String {
        recovery_s.map_or_else(
            || format!("not in {:.0} s", self.watched_s()),
            |seconds| format!("{seconds:.1} s"),
        )
    }

    pub(crate) fn arm(&self, name: &str) -> Option<&ArmReport> {
        self.arms.iter().find(|arm| arm.name == name)
    }
}

#[expect(clippy::ref_option, reason = "serde hands it over like this")]
fn or_deadline<S: Serializer>(quantile: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    quantile
        .unwrap_or(DEADLINE.as_secs_f64() * 1e3)
        .serialize(serializer)
}

/// As it is written in a report.
pub(crate) fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64())
}

/// Three decimals are more than any of these numbers holds.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
