//! From a running arm to its line in the report.

use std::ops::Range;
use std::time::Duration;

use crate::engine::DEADLINE;
use crate::engine::measure::{self, Entry};
use crate::engine::plan::Plan;
use crate::engine::running::{Conditions, Running};
use crate::report::{ArmReport, FaultSpan, Goodput, Measured, Series, rounded};

/// What a load showed, of the part of the plan that happened.
pub(crate) fn measured(
    arms: &[Running],
    conditions: &Conditions,
    length: Duration,
    load: f64,
) -> Measured {
    let plan = conditions.plan;
    let whole = Duration::ZERO..length;
    let lags = arms
        .iter()
        .filter_map(|arm| measure::lag_p99(&arm.log.due_in(&whole)));
    let offered = arms
        .first()
        .map(|arm| arm.log.due_in(&whole))
        .unwrap_or_default();
    Measured {
        load,
        deadline_ms: millis(DEADLINE),
        generator_lag_p99_ms: lags.max().map(millis),
        counted_from_s: plan.counted_from.as_secs_f64(),
        fault: plan.has_fault().then_some(FaultSpan {
            from_s: plan.fault_from.as_secs_f64(),
            until_s: plan.fault_until.as_secs_f64(),
            factor: conditions.fault.factor,
        }),
        length_s: rounded(length.as_secs_f64()),
        offered: each_second(&offered, length).map(<[Entry]>::len).collect(),
        arms: arms
            .iter()
            .map(|arm| summarise(arm, &plan, length))
            .collect(),
        ..Measured::default()
    }
}

fn summarise(running: &Running, plan: &Plan, length: Duration) -> ArmReport {
    let entries = running.log.due_in(&(Duration::ZERO..length));
    let cut = |span: Range<Duration>| span.start.min(length)..span.end.min(length);
    let rate = |span| measure::goodput(&entries, &cut(span)).map(rounded);
    let counted = measure::within(&entries, &cut(plan.counted()));
    let quantile = |share| measure::quantile(counted, share).map(millis);
    let lost_quantiles = [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)]
        .into_iter()
        .filter(|(_, share)| quantile(*share).is_none() && !counted.is_empty())
        .map(|(name, _)| name);
    let attempts = running.work.arrived_by_second();
    let during = cut(plan.during());
    let recovery = plan
        .has_fault()
        .then(|| measure::recovery(&entries, &cut(plan.after())))
        .flatten();
    ArmReport {
        name: running.arm.name,
        about: running.arm.about,
        goodput: Goodput {
            before: rate(plan.before()),
            during: rate(plan.during()),
            after: rate(plan.after()),
        },
        recovery_s: recovery.map(|recovery| rounded(recovery.as_secs_f64())),
        amplification: ratio(sum(&attempts), entries.len()).unwrap_or_default(),
        amplification_during: ratio(
            sum(in_seconds(&attempts, &during)),
            measure::within(&entries, &during).len(),
        ),
        wasted: running.work.wasted(),
        lost: measure::lost(&entries),
        late: measure::late(&entries),
        calls: entries.len(),
        slowed: running.work.slowed(),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        p999_ms: quantile(0.999),
        lost_quantiles: lost_quantiles.collect(),
        cpu_us_per_call: None,
        openings: running.client.openings(),
        sheds: running.client.sheds(),
        series: series(&entries, &attempts, length),
    }
}

fn series(entries: &[Entry], attempts: &[u32], length: Duration) -> Series {
    let quantiles = |share| {
        each_second(entries, length)
            .map(|second| measure::quantile(second, share).map(millis))
            .collect()
    };
    Series {
        goodput: each_second(entries, length).map(measure::good).collect(),
        attempts: in_seconds(attempts, &(Duration::ZERO..length)).to_vec(),
        p50_ms: quantiles(0.5),
        p99_ms: quantiles(0.99),
    }
}

/// The calls due in each whole second of the run.
fn each_second(entries: &[Entry], length: Duration) -> impl Iterator<Item = &[Entry]> {
    (0..length.as_secs()).map(move |second| {
        let from = Duration::from_secs(second);
        measure::within(entries, &(from..from + Duration::from_secs(1)))
    })
}

/// The counts of the whole seconds of a span.
fn in_seconds<'a>(counts: &'a [u32], span: &Range<Duration>) -> &'a [u32] {
    let second = |at: Duration| usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
    counts
        .get(second(span.start)..second(span.end))
        .unwrap_or_default()
}

fn sum(counts: &[u32]) -> u64 {
    counts.iter().copied().map(u64::from).sum()
}

fn ratio(count: u64, calls: usize) -> Option<f64> {
    (calls > 0).then(|| rounded(count as f64 / calls as f64))
}

fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1_000.0)
}
