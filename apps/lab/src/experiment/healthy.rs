//! E11: nothing is wrong, so protection may cost next to nothing.
//!
//! The arms run one after the other on the same arrivals, because processor time is known only of
//! the whole process.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::verdict::{Rule, Verdict, announce, found, promise};
use super::{
    Ending, LEAD, conclude, interrupted, interrupted_early, lag_rule, measured_capacity, must_run,
    publish, served, summary, under_load,
};
use crate::arms::{BACKSTAY, BACKSTAY_EVERYTHING, NONE_CANCELS, find};
use crate::cli::Healthy;
use crate::engine::plan::Plan;
use crate::engine::running::Conditions;
use crate::engine::server::Fault;
use crate::engine::{capacity, limits, load};
use crate::report::folder::Folder;
use crate::report::terminal::say;
use crate::report::{ArmReport, Measured, Report, rounded};

pub(crate) const NAME: &str = "healthy";
pub(crate) const ABOUT: &str = "nothing is wrong: what protection costs";

/// Goodput with protection, as a share of goodput without.
const KEEPS: f64 = 0.99;
/// Latency at p99 with protection, as a multiple of that without. Two runs without differ by 1 %.
const SLOWS: f64 = 1.1;
const UNCOUNTED: Duration = Duration::from_secs(3);

/// Runs the experiment, shows its table and writes its reports.
pub(crate) async fn run_and_report(settings: &Healthy) -> anyhow::Result<Verdict> {
    let folder = Folder::prepare(&settings.common.out, NAME)?;
    limits::make_room_for(1, settings.common.load)?;
    let _metrics = served(&settings.common).await?;
    say(&format!("{NAME}: {ABOUT}\n{}\n", announce(&rules())));
    let report = run(settings, UNCOUNTED, interrupted()).await?;
    publish(&folder, &report)
}

async fn run(
    settings: &Healthy,
    uncounted: Duration,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Report> {
    let (seed, share) = (settings.common.seed, settings.common.load);
    let mut interrupt = pin!(interrupt);
    let Some(capacity) =
        measured_capacity(Fault::NONE, capacity::MEASURED, interrupt.as_mut()).await?
    else {
        return Ok(interrupted_early(NAME, seed, share));
    };
    let offered = share * capacity;
    let end = uncounted + Duration::from_secs(settings.seconds);
    let plan = Plan {
        counted_from: uncounted,
        fault_from: end,
        fault_until: end,
        end,
    };

    let mut whole = Measured::default();
    let mut ending = Ending::Complete;
    for arm in [NONE_CANCELS, BACKSTAY, BACKSTAY_EVERYTHING]
        .into_iter()
        .filter_map(find)
    {
        say(&format!(
            "{}: {offered:.0}/s for {} s",
            arm.name,
            end.as_secs()
        ));
        let conditions = Conditions {
            seed,
            start: Instant::now() + LEAD,
            plan,
            fault: Fault::NONE,
            arrivals: load::arrivals(seed, offered, plan.end),
            metrics: settings.common.metrics.is_some(),
        };
        let before = limits::processor_time();
        let ran = under_load(&[arm], &conditions, interrupt.as_mut()).await?;
        let spent = limits::processor_time().saturating_sub(before);
        let one = summary::measured(&ran.arms, &conditions, ran.length, share);
        whole = joined(whole, one, spent);
        ending = ran.ending;
        if ending != Ending::Complete {
            break;
        }
    }
    whole.offered_per_s = Some(rounded(offered));
    whole.capacity_per_s = Some(rounded(capacity));
    let headline = headline(&whole);
    Ok(conclude(NAME, seed, &rules(), whole, ending, headline))
}

/// The arms so far and one more, which alone used this processor time.
fn joined(so_far: Measured, mut one: Measured, spent: Duration) -> Measured {
    for arm in &mut one.arms {
        let calls = arm.calls.max(1) as f64;
        arm.cpu_us_per_call = Some(rounded(spent.as_secs_f64() * 1e6 / calls));
    }
    let lags = [so_far.generator_lag_p99_ms, one.generator_lag_p99_ms];
    let mut arms = so_far.arms;
    arms.append(&mut one.arms);
    let generator_lag_p99_ms = lags.into_iter().flatten().reduce(f64::max);
    Measured {
        generator_lag_p99_ms,
        arms,
        ..one
    }
}

fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for arm in [BACKSTAY, BACKSTAY_EVERYTHING] {
        rules.extend([
            keeps_goodput(arm),
            keeps_latency(arm),
            never(arm, "opens a breaker", |arm| arm.openings),
            never(arm, "refuses a call", |arm| arm.sheds),
            must_run(arm),
        ]);
    }
    rules.push(must_run(NONE_CANCELS));
    rules.push(lag_rule());
    rules
}

fn keeps_goodput(arm: &'static str) -> Rule {
    let share = KEEPS * 100.0;
    promise(
        format!("{arm}'s goodput is at least {share:.0} % of {NONE_CANCELS}'s"),
        move |run: &Measured| {
            let with = run.arm(arm)?.goodput.before?;
            let without = run.arm(NONE_CANCELS)?.goodput.before?;
            found(
                with >= KEEPS * without,
                format!("{with:.1}/s of {without:.1}/s"),
            )
        },
    )
}

fn keeps_latency(arm: &'static str) -> Rule {
    promise(
        format!("{arm}'s p99 is at most {SLOWS} times {NONE_CANCELS}'s"),
        move |run: &Measured| {
            // Lost calls count as for ever, so a quantile that falls on one breaks the promise.
            let without = run.arm(NONE_CANCELS)?.p99_ms?;
            let Some(with) = run.arm(arm)?.p99_ms else {
                return found(false, "lost".to_owned());
            };
            found(
                with <= SLOWS * without,
                format!("{with:.0} ms to {without:.0} ms"),
            )
        },
    )
}

fn never(arm: &'static str, does: &str, count: fn(&ArmReport) -> Option<u64>) -> Rule {
    promise(format!("{arm} never {does}"), move |run: &Measured| {
        // An arm that does not count can't keep the promise.
        match count(run.arm(arm)?) {
            Some(times) => found(times == 0, format!("{times} times")),
            None => found(false, "not counted".to_owned()),
        }
    })
}

fn headline(measured: &Measured) -> String {
    let told: Vec<String> = measured
        .arms
        .iter()
        .map(|arm| {
            format!(
                "{} served {:.1}/s at {:.0} us of processor time a call",
                arm.name,
                arm.goodput.before.unwrap_or_default(),
                arm.cpu_us_per_call.unwrap_or_default()
            )
        })
        .collect();
    format!("Nothing was wrong: {}.", told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::verdict::judge;
    use crate::report::Goodput;

    fn run_of(with: f64, openings: Option<u64>, sheds: Option<u64>) -> Measured {
        let arm = |name, before| ArmReport {
            name,
            goodput: Goodput {
                before: Some(before),
                ..Goodput::default()
            },
            p99_ms: Some(100.0),
            openings,
            sheds,
            ..ArmReport::default()
        };
        Measured {
            generator_lag_p99_ms: Some(1.0),
            arms: vec![
                arm(NONE_CANCELS, 300.0),
                arm(BACKSTAY, with),
                arm(BACKSTAY_EVERYTHING, with),
            ],
            ..Measured::default()
        }
    }

    #[test]
    fn protection_must_cost_nothing_that_a_caller_notices() {
        let verdict = |measured| judge(&rules(), &measured, None).0;
        assert_eq!(verdict(run_of(297.0, Some(0), Some(0))), Verdict::Pass);
        assert_eq!(verdict(run_of(296.9, Some(0), Some(0))), Verdict::Fail);
        assert_eq!(verdict(run_of(300.0, Some(1), Some(0))), Verdict::Fail);
        assert_eq!(verdict(run_of(300.0, Some(0), Some(1))), Verdict::Fail);
        assert_eq!(verdict(run_of(300.0, None, Some(0))), Verdict::Fail);
        for (p99, due) in [
            (Some(110.0), Verdict::Pass),
            (Some(111.0), Verdict::Fail),
            (None, Verdict::Fail),
        ] {
            let mut slower = run_of(300.0, Some(0), Some(0));
            slower.arms[2].p99_ms = p99;
            assert_eq!(verdict(slower), due, "{p99:?}");
        }
        let mut without = run_of(300.0, Some(0), Some(0));
        without.arms.pop();
        assert_eq!(verdict(without), Verdict::Invalid);
    }

    #[test]
    fn arms_are_joined_with_their_processor_time() {
        let one = |lag, calls| Measured {
            generator_lag_p99_ms: Some(lag),
            arms: vec![ArmReport {
                calls,
                ..ArmReport::default()
            }],
            ..Measured::default()
        };
        let first = joined(
            Measured::default(),
            one(2.0, 100),
            Duration::from_millis(10),
        );
        let both = joined(first, one(1.0, 0), Duration::ZERO);
        assert_eq!(both.arms[0].cpu_us_per_call, Some(100.0));
        assert_eq!(both.arms[1].cpu_us_per_call, Some(0.0));
        assert_eq!(both.generator_lag_p99_ms, Some(2.0));
    }
}
