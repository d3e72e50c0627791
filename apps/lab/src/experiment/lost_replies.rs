//! E4: replies of writes are lost, and the servers are killed once and come back.
//!
//! In each arm customers place orders with a server of its own, each order once as they see it. An order that is carried
//! out is a row in a file; the files are counted when all servers are dead.

mod count;
mod judge;
mod world;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::verdict::{Verdict, announce};
use super::{Ending, GRACE, LEAD, conclude, interrupted, publish};
use crate::cli::Seeded;
use crate::engine::load::arrivals;
use crate::report::Report;
use crate::report::folder::Folder;
use crate::report::history::History;
use crate::report::terminal::say;
use judge::{Facts, rules};
use world::World;

pub(crate) const NAME: &str = "lost-replies";
pub(crate) const ABOUT: &str = "5 % of the replies are lost and the servers are killed once: what is done twice, and who knows";

/// How orders are placed, and what happens to them.
#[derive(Clone, Copy, Debug)]
struct Plan {
    orders_per_s: f64,
    length: Duration,
    /// Of the replies.
    lost: f64,
}

const PLAN: Plan = Plan {
    orders_per_s: 100.0,
    length: Duration::from_secs(30),
    lost: 0.05,
};

/// Runs the experiment, shows its table and writes its reports.
pub(crate) async fn run_and_report(settings: &Seeded) -> anyhow::Result<Verdict> {
    let folder = Folder::prepare(&settings.out, NAME)?;
    say(&format!("{NAME}: {ABOUT}\n{}\n", announce(&rules())));
    let report = run(settings.seed, PLAN, interrupted()).await?;
    publish(&folder, &report)
}

async fn run(
    seed: u64,
    plan: Plan,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Report<History>> {
    let mut world = World::start(seed, plan).await?;
    let mut facts = Facts::new(Instant::now() + LEAD);
    let interrupt = pin!(interrupt);
    let ending = tokio::select! {
        biased;
        () = interrupt => Ending::Interrupted,
        played = play(&mut world, plan, seed, &mut facts) => played?,
    };
    let length = facts.elapsed();
    let arms = world.end().await?;
    let history = facts.history(&arms, length);
    let headline = judge::headline(&history);
    Ok(conclude(NAME, seed, &rules(), history, ending, headline))
}

async fn play(
    world: &mut World,
    plan: Plan,
    seed: u64,
    facts: &mut Facts,
) -> anyhow::Result<Ending> {
    say(&format!(
        "{} orders/s in each arm for {} s; {} % of the replies are lost",
        plan.orders_per_s,
        plan.length.as_secs(),
        plan.lost * 100.0,
    ));
    let arrivals = arrivals(seed, plan.orders_per_s, plan.length);
    let start = facts.start;
    let load = world.load(start, &arrivals)?;
    // So that no two seeds hit the same moments.
    let moment = Duration::from_millis(seed.wrapping_mul(137) % 1_000);
    sleep_until(start + plan.length / 2 + moment).await;
    say("killing every server, and starting it again");
    facts.killed_at = Some(facts.elapsed());
    facts.killed = world.kill_and_restart().await?;
    facts.back_at = Some(facts.elapsed());

    sleep_until(start + plan.length).await;
    facts.until = Some(facts.elapsed());
    say("no more orders; waiting for those that are under way");
    match timeout(GRACE, load).await {
        Ok(ended) => ended?,
        Err(_) => return Ok(Ending::Overran),
    }
    Ok(Ending::Complete)
}
