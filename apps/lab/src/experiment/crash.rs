//! E3: every process that takes part in an order is killed, at every step of it.
//!
//! Each order of a world has one place at which it is held. When all are held where they should be, one process of the
//! world is killed, and started again a moment later. The books are read when all processes are dead.

mod count;
mod judge;
pub(crate) mod plan;
mod world;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout};

use super::verdict::{Verdict, announce};
use super::{Ending, conclude, interrupted, publish};
use crate::cli::Swept;
use crate::report::Report;
use crate::report::folder::Folder;
use crate::report::history::History;
use crate::report::terminal::say;
use crate::saga::ARMS;
use crate::saga::order::Process;
use judge::rules;
use plan::{Size, sweep};
use world::World;

pub(crate) const NAME: &str = "crash";
pub(crate) const ABOUT: &str =
    "orchestrator, shop and bank are killed at every step of an order: what is left half done";

/// Longer than a claim of a dead process lasts, twice.
const AT_MOST: Duration = Duration::from_secs(90);

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
    let mut worlds = Vec::new();
    for arm in ARMS {
        for victim in Process::ALL {
            let plan = sweep(seed, victim, size);
            let name = format!("{}-{}", arm.name, victim.name());
            worlds.push(World::start(arm, victim, plan, folder.path().join(name), start).await?);
        }
    }
    let interrupt = pin!(interrupt);
    let ending = tokio::select! {
        biased;
        () = interrupt => Ending::Interrupted,
        played = play(&mut worlds) => played?,
    };
    let length = start.elapsed();
    let mut ended = Vec::new();
    for world in worlds {
        ended.push(world.end().await?);
    }
    for line in judge::not_ended(&ended) {
        say(&line);
    }
    let history = judge::history(&ended, start, length);
    let headline = judge::headline(&history);
    Ok(conclude(NAME, seed, &rules(), history, ending, headline))
}

/// All worlds side by side.
async fn play(worlds: &mut [World]) -> anyhow::Result<Ending> {
    say(
        "each order has one place at which it is when the process is killed; the seed draws amounts and turns",
    );
    for world in worlds.iter().take(Process::ALL.len()) {
        say(&format!(
            "{} orders in each arm whose {} is killed",
            world.orders(),
            world.victim.name(),
        ));
    }
    let all = try_join_all(worlds.iter_mut().map(World::play));
    Ok(match timeout(AT_MOST, all).await {
        Ok(played) => {
            played?;
            Ending::Complete
        }
        Err(_) => Ending::Overran,
    })
}
