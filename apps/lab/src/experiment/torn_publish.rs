//! E6: writer and reader are killed at every step of a change, and the read side is held against the write side.
//!
//! Each order of a world has one place at which it is held. When all are held where they should be, one process of the
//! world is killed, and started again a moment later. What both sides have left is read when all processes are dead.

mod count;
mod judge;
mod plan;
mod world;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use super::crash::plan::Size;
use super::verdict::{Verdict, announce};
use super::{Ending, conclude, interrupted, publish};
use crate::cli::Swept;
use crate::report::Report;
use crate::report::folder::Folder;
use crate::report::history::History;
use crate::report::terminal::say;
use crate::torn::ARMS;
use crate::torn::order::Process;
use judge::rules;
use plan::{Planned, sweep, worlds};
use world::{Ended, Setting, World};

pub(crate) const NAME: &str = "torn-publish";
pub(crate) const ABOUT: &str = "writer and reader are killed at every step from write to read: where the read side stays wrong";

/// As many worlds, of two processes each, are there at once: their kills fall together, and their waits do.
const AT_ONCE: usize = 24;
/// Some times as long as all worlds take.
const AT_MOST: Duration = Duration::from_secs(150);

/// Runs the experiment, shows its table and writes its reports.
pub(crate) async fn run_and_report(settings: &Swept) -> anyhow::Result<Verdict> {
    let folder = Folder::prepare(&settings.seeded.out, NAME)?;
    say(&format!("{NAME}: {ABOUT}\n{}\n", announce(&rules())));
    let report = run(settings.seeded.seed, settings.points, interrupted()).await?;
    publish(&folder, &report)
}

async fn run(
    seed: u64,
    size: Size,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Report<History>> {
    let folder = tempfile::tempdir()?;
    let start = Instant::now();
    let mut all = Vec::new();
    for arm in ARMS {
        for victim in Process::ALL {
            for plan in worlds(arm.way, sweep(seed, victim, size)) {
                all.push((Setting { arm, victim }, plan));
            }
        }
    }
    // Those that are never right take longest.
    all.sort_by_key(|(setting, _)| setting.arm.way.has_relay());
    say(&told(&all));
    let mut ended = Vec::new();
    let ending = tokio::select! {
        biased;
        () = interrupt => Ending::Interrupted,
        played = play(all, folder.path(), &mut ended) => {
            played?;
            Ending::Complete
        }
        () = tokio::time::sleep(AT_MOST) => Ending::Overran,
    };
    for line in judge::not_equal(&ended) {
        say(&line);
    }
    let history = judge::history(&ended, start.elapsed());
    let headline = judge::headline(&history);
    Ok(conclude(NAME, seed, &rules(), history, ending, headline))
}

fn told(all: &[(Setting, Vec<Planned>)]) -> String {
    let of = |(setting, plan): &(Setting, Vec<Planned>)| {
        let is_first = setting.arm == ARMS[0];
        if is_first { plan.len() } else { 0 }
    };
    let orders: usize = all.iter().map(of).sum();
    format!(
        "each order has one place at which it is when a process is killed; the seed draws amounts and turns\n\
         {orders} orders in each arm, in {} worlds of a writer and a reader",
        all.len()
    )
}

/// Some worlds side by side, until all have ended. Those that have are there when this is dropped.
async fn play(
    all: Vec<(Setting, Vec<Planned>)>,
    folder: &Path,
    ended: &mut Vec<Ended>,
) -> anyhow::Result<()> {
    let count = all.len();
    let worlds = all
        .into_iter()
        .enumerate()
        .map(|(number, (setting, plan))| {
            let folder = folder.join(number.to_string());
            async move {
                let mut world = World::start(setting, plan, folder).await?;
                world.play().await?;
                world.end().await
            }
        });
    let mut worlds = stream::iter(worlds).buffer_unordered(AT_ONCE);
    while let Some(world) = worlds.try_next().await? {
        ended.push(world);
        if ended.len().is_multiple_of(AT_ONCE) || ended.len() == count {
            say(&format!("{} of {count} worlds have ended", ended.len()));
        }
    }
    Ok(())
}
