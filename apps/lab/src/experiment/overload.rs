//! E1: capacity falls for ten seconds at a load that was fine before.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use backstay::BudgetOptions;
use tokio::time::Instant;

use super::verdict::{Rule, Verdict, announce, found, promise, validity};
use super::{
    LEAD, conclude, interrupted, interrupted_early, lag_rule, measured_capacity, must_run, publish,
    served, summary, under_load,
};
use crate::arms::{ARTICLE_RETRY, BACKSTAY, BUDGET_ONLY, NONE};
use crate::cli::Overload;
use crate::engine::measure::RECOVERED_WINDOW;
use crate::engine::plan::Plan;
use crate::engine::running::Conditions;
use crate::engine::server::{Fault, SERVICE_MEAN, SLOTS};
use crate::engine::{capacity, limits, load};
use crate::report::folder::Folder;
use crate::report::terminal::say;
use crate::report::{Measured, Report, rounded};

pub(crate) const NAME: &str = "overload";
pub(crate) const ABOUT: &str = "capacity falls for 10 s: who keeps what is left, who comes back";

/// Goodput during the fault, as a share of what the server can still do.
const KEEPS: f64 = 0.9;
/// From the end of the fault to the first good window.
const BACK_WITHIN_S: f64 = 1.0;
/// Attempts for each call.
const AMPLIFIES: f64 = 1.1;
/// Calls of the last 250 ms before the ten seconds of the fault are repeated in it.
const AT_THE_EDGE: f64 = 0.025;
/// Attempts for each call from which on a budget has something to hold back.
const REPEATS: f64 = 1.05;
/// Before the fault the load must be bearable, or what happens during it shows nothing.
const FINE_BEFORE: f64 = 0.9;
/// Two rounds of the article's retries, each of which lasts up to 11 s: shorter is not "never".
const SHORTEST_WATCH_S: f64 = 20.0;

/// How long each phase lasts. The first seconds of the warm-up are not counted.
#[derive(Clone, Copy, Debug)]
struct Phases {
    calibration: Duration,
    uncounted: Duration,
    warm_up: Duration,
    fault: Duration,
}

const PHASES: Phases = Phases {
    calibration: capacity::MEASURED,
    uncounted: Duration::from_secs(3),
    warm_up: Duration::from_secs(10),
    fault: Duration::from_secs(10),
};

impl Phases {
    fn plan(&self, watch: Duration) -> Plan {
        let fault_until = self.warm_up + self.fault;
        Plan {
            counted_from: self.uncounted,
            fault_from: self.warm_up,
            fault_until,
            end: fault_until + watch,
        }
    }
}

/// Runs the experiment, shows its table and writes its reports.
pub(crate) async fn run_and_report(settings: &Overload) -> anyhow::Result<Verdict> {
    let folder = Folder::prepare(&settings.common.out, NAME)?;
    limits::make_room_for(settings.arms.0.len(), settings.common.load)?;
    let _metrics = served(&settings.common).await?;
    say(&format!(
        "{NAME}: {ABOUT}\n{}\n{}\n",
        outline(settings, &PHASES),
        announce(&rules())
    ));
    let report = run(settings, PHASES, interrupted()).await?;
    publish(&folder, &report)
}

async fn run(
    settings: &Overload,
    phases: Phases,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Report> {
    let (seed, share) = (settings.common.seed, settings.common.load);
    let mut interrupt = pin!(interrupt);
    let fault = Fault {
        factor: settings.factor,
    };
    let mut rates = [0.0; 2];
    for (rate, fault) in rates.iter_mut().zip([Fault::NONE, fault]) {
        match measured_capacity(fault, phases.calibration, interrupt.as_mut()).await? {
            Some(measured) => *rate = measured,
            None => return Ok(interrupted_early(NAME, seed, share)),
        }
    }
    let [capacity, left] = rates;
    let offered = share * capacity;
    let plan = phases.plan(Duration::from_secs(settings.seconds));
    say(&format!(
        "capacity {capacity:.0}/s, {left:.0}/s under the fault, {offered:.0}/s offered to each \
         of {} arms for {} s; the fault begins after {} s",
        settings.arms.0.len(),
        plan.end.as_secs(),
        plan.fault_from.as_secs()
    ));

    let conditions = Conditions {
        seed,
        start: Instant::now() + LEAD,
        plan,
        fault,
        arrivals: load::arrivals(seed, offered, plan.end),
        metrics: settings.common.metrics.is_some(),
    };
    let ran = under_load(&settings.arms.0, &conditions, interrupt).await?;
    let measured = Measured {
        offered_per_s: Some(rounded(offered)),
        capacity_per_s: Some(rounded(capacity)),
        capacity_left_per_s: Some(rounded(left)),
        ..summary::measured(&ran.arms, &conditions, ran.length, share)
    };
    let headline = headline(&measured);
    Ok(conclude(
        NAME,
        seed,
        &rules(),
        measured,
        ran.ending,
        headline,
    ))
}

/// What is simulated, and how long it takes.
fn outline(settings: &Overload, phases: &Phases) -> String {
    let plan = phases.plan(Duration::from_secs(settings.seconds));
    let takes = 2 * phases.calibration + plan.end;
    format!(
        "Each arm is a client and a server of its own in this process, with real sockets between them; a server has {SLOTS} \
         slots, and a call takes one for {} ms on average, longer during the fault. The run takes about {} s.",
        SERVICE_MEAN.as_millis(),
        takes.as_secs()
    )
}

/// What the run is judged by, in the order in which it is told.
fn rules() -> Vec<Rule> {
    [promises(), conditions()].into_iter().flatten().collect()
}

fn promises() -> Vec<Rule> {
    vec![
        promise(
            format!(
                "{BACKSTAY}'s goodput during the fault is at least {:.0} % of the capacity left",
                KEEPS * 100.0
            ),
            |run: &Measured| {
                // A load below what is left can be served whole, and no more than that.
                let left = run.capacity_left_per_s?.min(run.offered_per_s?);
                let during = run.arm(BACKSTAY)?.goodput.during?;
                found(
                    during >= KEEPS * left,
                    format!("{during:.0}/s of {left:.0}/s"),
                )
            },
        ),
        promise(
            format!("{BACKSTAY} recovers within {BACK_WITHIN_S} s"),
            |run: &Measured| {
                let recovery = run.arm(BACKSTAY)?.recovery_s;
                found(
                    recovery.is_some_and(|after| after <= BACK_WITHIN_S),
                    run.back(recovery),
                )
            },
        ),
        promise(
            format!(
                "{BACKSTAY} sends at most {AMPLIFIES} attempts for each call, during the fault too"
            ),
            |run: &Measured| {
                let arm = run.arm(BACKSTAY)?;
                let (whole, during) = (arm.amplification, arm.amplification_during?);
                found(
                    whole <= AMPLIFIES && during <= AMPLIFIES,
                    format!("{whole:.2}, and {during:.2} during it"),
                )
            },
        ),
        promise(
            format!("{BUDGET_ONLY} sends no more during the fault than its budget allows"),
            |run: &Measured| {
                let during = run.arm(BUDGET_ONLY)?.amplification_during?;
                let budget = BudgetOptions::default();
                let reserve = f64::from(budget.reserve()) / run.offered_per_s?;
                let allowed = 1.0 + budget.share() + reserve + AT_THE_EDGE;
                found(
                    during <= allowed,
                    format!("{during:.2} attempts for each call, {allowed:.2} allowed"),
                )
            },
        ),
    ]
}

/// What must be so for the run to prove anything.
fn conditions() -> Vec<Rule> {
    vec![
        validity(
            format!(
                "{BUDGET_ONLY} repeats calls during the fault (if not, its budget had nothing to hold back)"
            ),
            |run: &Measured| {
                let during = run.arm(BUDGET_ONLY)?.amplification_during?;
                found(
                    during >= REPEATS,
                    format!("{during:.2} attempts for each call"),
                )
            },
        ),
        must_run(NONE),
        must_run(BACKSTAY),
        must_run(ARTICLE_RETRY),
        validity(
            format!("{ARTICLE_RETRY} never recovers (if it does, the fault was too weak)"),
            |run: &Measured| {
                let recovery = run.arm(ARTICLE_RETRY)?.recovery_s;
                found(recovery.is_none(), run.back(recovery))
            },
        ),
        validity(
            "the fault slows services of every arm".to_owned(),
            |run: &Measured| {
                let fewest = run.arms.iter().min_by_key(|arm| arm.slowed)?;
                found(
                    fewest.slowed > 0,
                    format!("{} in {}, the fewest", fewest.slowed, fewest.name),
                )
            },
        ),
        validity(
            format!(
                "{NONE} serves at least {:.0} % of the load before the fault",
                FINE_BEFORE * 100.0
            ),
            |run: &Measured| {
                let (before, offered) = (run.arm(NONE)?.goodput.before?, run.offered_per_s?);
                found(
                    before >= FINE_BEFORE * offered,
                    format!("{before:.0}/s of {offered:.0}/s"),
                )
            },
        ),
        validity(
            format!("the watch lasts at least {SHORTEST_WATCH_S} s"),
            |run: &Measured| {
                let watch = run.watched_s();
                found(watch >= SHORTEST_WATCH_S, format!("{watch:.0} s"))
            },
        ),
        lag_rule(),
    ]
}

/// The run in a sentence, from the arms a reader asks about first.
fn headline(measured: &Measured) -> String {
    let watched = measured.watched_s();
    if watched < RECOVERED_WINDOW.as_secs_f64() {
        return "The run ended before anybody could recover.".to_owned();
    }
    let offered = measured.offered_per_s.unwrap_or_default();
    let told: Vec<String> = [ARTICLE_RETRY, NONE, BACKSTAY]
        .into_iter()
        .filter_map(|name| measured.arm(name))
        .map(|arm| {
            let during = arm.goodput.during.unwrap_or_default();
            let kept = format!("{} kept {during:.0}/s during it", arm.name);
            match arm.recovery_s {
                Some(seconds) => format!("{kept} and was back after {seconds:.1} s"),
                None => format!("{kept} and was not back in {watched:.0} s"),
            }
        })
        .collect();
    format!(
        "The fault ended {watched:.0} s ago. Of {offered:.0}/s offered and {:.0}/s of capacity \
         left, {}.",
        measured.capacity_left_per_s.unwrap_or_default(),
        told.join("; ")
    )
}

#[cfg(test)]
mod tests;
