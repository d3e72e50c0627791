//! The experiments: what runs, what it is judged by, and what is shown.

pub(crate) mod crash;
pub(crate) mod healthy;
pub(crate) mod lost_replies;
pub(crate) mod overload;
pub(crate) mod paused_leader;
pub(crate) mod revoked;
mod rules;
pub(crate) mod summary;
pub(crate) mod torn_publish;
pub(crate) mod verdict;

use std::fmt::Write;
use std::future::Future;
use std::time::Duration;

use tokio::time::sleep_until;

use crate::arms::{ARMS, Arm, Runs};
use crate::cli::Common;
use crate::engine::DEADLINE;
use crate::engine::capacity;
use crate::engine::load::drive;
use crate::engine::running::{self, Conditions, Running};
use crate::engine::server::Fault;
use crate::report::folder::Folder;
use crate::report::live;
use crate::report::metrics::Metrics;
use crate::report::table;
use crate::report::terminal::say;
use crate::report::{Measured, Report, Results, SCHEMA};
use verdict::{Rule, Verdict, found, validity};

/// The generator keeps to its schedule, or the run is void.
const LAG_LIMIT_MS: f64 = 5.0;
/// Before this the generator does not start, so that every server is up.
const LEAD: Duration = Duration::from_millis(200);
/// How much longer than planned a run may take before it is given up.
const GRACE: Duration = Duration::from_secs(30);

/// Serves the metrics if the user asked for them.
async fn served(common: &Common) -> anyhow::Result<Option<Metrics>> {
    match common.metrics {
        Some(address) => Metrics::serve(address).await.map(Some),
        None => Ok(None),
    }
}

/// Experiments and arms, for `lab list`.
pub(crate) fn list() -> String {
    let mut text = "experiments\n".to_owned();
    for (name, about) in [
        (overload::NAME, overload::ABOUT),
        (healthy::NAME, healthy::ABOUT),
        (paused_leader::NAME, paused_leader::ABOUT),
        (lost_replies::NAME, lost_replies::ABOUT),
        (crash::NAME, crash::ABOUT),
        (torn_publish::NAME, torn_publish::ABOUT),
        (revoked::NAME, revoked::ABOUT),
    ] {
        let _ = writeln!(text, "  {name:<28} {about}");
    }
    text.push_str("\narms of overload (* by default)\n");
    for arm in ARMS {
        let mark = if arm.runs == Runs::ByDefault {
            '*'
        } else {
            ' '
        };
        let _ = writeln!(text, "{mark} {:<28} {}", arm.name, arm.about);
    }
    if !cfg!(feature = "peers") {
        text.push_str("  (tower-resilience and seatbelt: build with `--features peers`)\n");
    }
    text
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    Interrupted,
    Overran,
}

impl Ending {
    fn cut_short(self) -> Option<&'static str> {
        match self {
            Self::Complete => None,
            Self::Interrupted => Some("interrupted"),
            Self::Overran => Some("the run took far longer than planned"),
        }
    }
}

/// Arms that were under load, and how much of the plan happened.
struct Ran {
    arms: Vec<Running>,
    ending: Ending,
    length: Duration,
}

/// Puts arms under the same load, side by side.
async fn under_load(
    arms: &[&'static Arm],
    conditions: &Conditions,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Ran> {
    let mut started = Vec::with_capacity(arms.len());
    for arm in arms {
        started.push(running::start(arm, conditions).await?);
    }
    let Conditions {
        start,
        plan,
        ref arrivals,
        ..
    } = *conditions;
    let ending = tokio::select! {
        biased;
        () = interrupt => Ending::Interrupted,
        () = drive(start, arrivals, plan.end, &started) => Ending::Complete,
        () = sleep_until(start + plan.end + GRACE) => Ending::Overran,
        () = live::show(start, plan, &started) => Ending::Overran,
    };
    // Calls of the last moments of a run that was cut short could not end yet.
    let length = start.elapsed().saturating_sub(DEADLINE).min(plan.end);
    Ok(Ran {
        arms: started,
        ending,
        length,
    })
}

/// Judges what was measured.
fn conclude<M>(
    experiment: &'static str,
    seed: u64,
    rules: &[Rule<M>],
    measured: M,
    ending: Ending,
    headline: String,
) -> Report<M> {
    let (verdict, reasons, checks) = verdict::judge(rules, &measured, ending.cut_short());
    let partial = ending != Ending::Complete;
    Report {
        schema: SCHEMA,
        experiment,
        seed,
        verdict,
        reasons,
        headline,
        partial,
        checks,
        measured,
    }
}

/// Shows a report and writes it down.
fn publish<M: Results>(folder: &Folder, report: &Report<M>) -> anyhow::Result<Verdict> {
    say(&format!("\n{}", table::render(report)));
    let (json, page) = folder.write(report)?;
    say(&format!("\n{}\n{}", json.display(), page.display()));
    Ok(report.verdict)
}

/// Ends when the user presses ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // No handler, no interrupt: the run ends by itself.
        std::future::pending::<()>().await;
    }
}

/// The server's capacity, or nothing when the user interrupts.
async fn measured_capacity(
    fault: Fault,
    span: Duration,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Option<f64>> {
    say("measuring capacity ...");
    tokio::select! {
        biased;
        () = interrupt => Ok(None),
        capacity = capacity::measure(fault, span) => capacity.map(Some),
    }
}

/// The report of a run that ended before it had measured anything.
fn interrupted_early(experiment: &'static str, seed: u64, load: f64) -> Report {
    let nothing = Measured {
        load,
        ..Measured::default()
    };
    let headline = "Interrupted before the load began.".to_owned();
    conclude(
        experiment,
        seed,
        &[],
        nothing,
        Ending::Interrupted,
        headline,
    )
}

fn lag_rule() -> Rule {
    validity(
        format!("the generator's lag is at most {LAG_LIMIT_MS} ms at p99"),
        |run: &Measured| {
            let lag = run.generator_lag_p99_ms?;
            let kept = lag <= LAG_LIMIT_MS;
            let advice = if kept {
                ""
            } else {
                " (something else keeps this machine busy)"
            };
            found(kept, format!("{lag:.1} ms{advice}"))
        },
    )
}

fn must_run(arm: &'static str) -> Rule {
    validity(format!("arm {arm} takes part"), move |run: &Measured| {
        let runs = run.arm(arm).is_some();
        found(runs, if runs { "it did" } else { "it did not" }.to_owned())
    })
}
