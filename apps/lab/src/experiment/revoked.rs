//! E7: a key is revoked while the doors that let it in can't reach whoever revoked it.
//!
//! Each world has a door, a way to the authority, and keys of its own. The way is cut just before the key is revoked: its
//! connections are refused, or nothing comes through any more, or the door is started again besides.

mod count;
mod judge;
mod plan;
mod world;

use std::future::Future;
use std::time::Duration;

use backstay::lease::{BootClock, Clock};
use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep_until};

use super::verdict::{Verdict, announce};
use super::{Ending, GRACE, LEAD, conclude, interrupted, publish};
use crate::child::Child;
use crate::cli::Seeded;
use crate::keys::ARMS;
use crate::keys::authority::Authority;
use crate::report::Report;
use crate::report::folder::Folder;
use crate::report::history::History;
use crate::report::terminal::say;
use judge::rules;
use plan::{Fault, Plan};
use world::{Setting, World};

pub(crate) const NAME: &str = "revoked";
pub(crate) const ABOUT: &str =
    "a key is revoked while the source of all keys can't be reached: how long it is let in";

/// Runs the experiment, shows its table and writes its reports.
pub(crate) async fn run_and_report(settings: &Seeded) -> anyhow::Result<Verdict> {
    let folder = Folder::prepare(&settings.out, NAME)?;
    say(&format!("{NAME}: {ABOUT}\n{}\n", announce(&rules())));
    let report = run(settings.seed, interrupted()).await?;
    publish(&folder, &report)
}

async fn run(seed: u64, interrupt: impl Future<Output = ()>) -> anyhow::Result<Report<History>> {
    let plan = Plan::drawn(seed);
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    let part = ["part", "authority", &path].map(str::to_owned);
    let (_serving, authority) = Child::service(&part).await?;
    let authority = Authority(authority);
    let mut worlds = Vec::new();
    for arm in ARMS {
        for fault in Fault::ALL {
            let folder = folder.path().join(worlds.len().to_string());
            worlds.push(World::start(Setting { arm, fault }, authority, folder).await?);
        }
    }
    let keys: Vec<String> = worlds.iter().flat_map(World::keys).collect();
    authority.give(&keys).await?;
    join_all(worlds.iter().map(World::ready)).await;

    let (start, started_at) = (Instant::now() + LEAD, BootClock.now().plus(LEAD));
    let ending = tokio::select! {
        biased;
        () = interrupt => Ending::Interrupted,
        played = play(&mut worlds, plan, start) => {
            played?;
            Ending::Complete
        }
        () = sleep_until(start + plan.end + GRACE) => Ending::Overran,
    };
    let length = start.elapsed();
    let mut ended = Vec::new();
    for world in worlds {
        ended.push(world.end().await?);
    }
    let history = judge::history(&ended, started_at, length);
    let headline = judge::headline(&history);
    Ok(conclude(NAME, seed, &rules(), history, ending, headline))
}

/// All worlds side by side.
async fn play(worlds: &mut [World], plan: Plan, start: Instant) -> anyhow::Result<()> {
    let told = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    say(&format!(
        "{} doors; three keys at each, one revoked after {}, one after {}, while the authority is out of reach: from {} to {}",
        worlds.len(),
        told(plan.early),
        told(plan.late),
        told(plan.cut),
        told(plan.heal),
    ));
    let phases = async {
        sleep_until(start + plan.cut).await;
        say("cutting every door off, and revoking a key");
        sleep_until(start + plan.heal).await;
        say("the authority can be reached again");
        Ok(())
    };
    let all = try_join_all(worlds.iter_mut().map(|world| world.play(plan, start)));
    tokio::try_join!(all, phases)?;
    Ok(())
}
