//! E5: a leader is stopped past its lease, cut off from whoever lends it, and that one's clock is set forward.
//!
//! In each arm three processes want to write to one number. A leader reads it once and then sets it to one more again
//! and again, so whatever a second writer does in between is lost.

mod judge;
mod world;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::verdict::{Verdict, announce};
use super::{Ending, conclude, interrupted, publish};
use crate::cli::Seeded;
use crate::report::Report;
use crate::report::folder::Folder;
use crate::report::history::{History, Spell, Witness};
use crate::report::rounded;
use crate::report::terminal::say;
use crate::wire::Link;
use judge::{Facts, rules};
use world::World;

pub(crate) const NAME: &str = "paused-leader";
pub(crate) const ABOUT: &str =
    "a leader is stopped, cut off, and the lease's clock is set forward: who writes all the same";

/// How long each phase lasts.
#[derive(Clone, Copy, Debug)]
struct Phases {
    /// Until all have a leader: the article's needs 5 s.
    warm_up: Duration,
    /// Longer than a lease, and the article's next look.
    fault: Duration,
    watch: Duration,
}

const PHASES: Phases = Phases {
    warm_up: Duration::from_secs(10),
    fault: Duration::from_secs(16),
    watch: Duration::from_secs(6),
};
/// More than a lease.
const STEP: Duration = Duration::from_secs(12);

pub(super) const STOPPED: &str = "leader stopped";
pub(super) const CUT_OFF: &str = "leader cut off";
pub(super) const STEPPED: &str = "clock set forward";

/// Runs the experiment, shows its table and writes its reports.
pub(crate) async fn run_and_report(settings: &Seeded) -> anyhow::Result<Verdict> {
    let folder = Folder::prepare(&settings.out, NAME)?;
    say(&format!("{NAME}: {ABOUT}\n{}\n", announce(&rules())));
    let report = run(settings.seed, PHASES, interrupted()).await?;
    publish(&folder, &report)
}

async fn run(
    seed: u64,
    phases: Phases,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Report<History>> {
    let world = World::start().await?;
    let mut facts = Facts::new(Instant::now());
    let interrupt = pin!(interrupt);
    let ending = tokio::select! {
        biased;
        () = interrupt => Ending::Interrupted,
        played = play(&world, phases, seed, &mut facts) => {
            played?;
            Ending::Complete
        }
    };
    let length = facts.elapsed();
    let logs = world.logs().await?;
    let mut history = facts.history(&logs);
    history.length_s = rounded(length.as_secs_f64());
    let headline = judge::headline(&history);
    Ok(conclude(NAME, seed, &rules(), history, ending, headline))
}

async fn play(world: &World, phases: Phases, seed: u64, facts: &mut Facts) -> anyhow::Result<()> {
    // So that no two seeds hit the same moments.
    let moment = Duration::from_millis(seed.wrapping_mul(137) % 1_000);
    sleep(phases.warm_up + moment).await;

    say("stopping each arm's leader just before it writes");
    let from = facts.elapsed();
    let mut stopped = 0;
    for arm in &world.arms {
        let leader = arm.leader(world).await?;
        let candidate = &arm.candidates[leader];
        // A leader that is asleep says something soon.
        let _ = timeout(Duration::from_secs(2), candidate.child.next_line()).await;
        candidate.child.signal(Signal::STOP)?;
        facts.hit(arm.arm.name, leader);
        // The signal takes a moment.
        sleep(Duration::from_millis(50)).await;
        stopped += u64::from(candidate.child.is_stopped());
    }
    facts.witness(STOPPED, stopped);
    sleep(phases.fault).await;
    for arm in &world.arms {
        let leader = facts.last_hit(arm.arm.name);
        arm.candidates[leader].child.signal(Signal::CONT)?;
    }
    facts.fault(STOPPED, from);
    sleep(phases.watch).await;

    say("cutting each arm's leader off from whoever lends the lease");
    let from = facts.elapsed();
    for arm in &world.arms {
        let leader = arm.leader(world).await?;
        arm.candidates[leader].wire.set(Link::Held);
        facts.hit(arm.arm.name, leader);
    }
    sleep(phases.fault).await;
    let mut held_back = 0;
    for arm in &world.arms {
        let wire = &arm.candidates[facts.last_hit(arm.arm.name)].wire;
        wire.set(Link::Whole);
        held_back += u64::from(wire.held_back() > 0);
    }
    facts.witness(CUT_OFF, held_back);
    facts.fault(CUT_OFF, from);
    sleep(phases.watch).await;

    say("setting the clock of whoever lends the lease forward");
    let from = facts.elapsed();
    let before = world.terms().await?;
    world.step(STEP).await?;
    facts.fault(STEPPED, from);
    sleep(phases.fault).await;
    let after = world.terms().await?;
    let ended = before.iter().zip(&after).filter(|(one, next)| one < next);
    facts.witness(STEPPED, ended.count() as u64);
    Ok(())
}

impl Facts {
    fn fault(&mut self, name: &str, from: Duration) {
        let until = if name == STEPPED {
            from
        } else {
            self.elapsed()
        };
        self.faults.push(Spell {
            name: name.to_owned(),
            from_s: rounded(from.as_secs_f64()),
            until_s: rounded(until.as_secs_f64()),
        });
    }

    fn witness(&mut self, name: &str, count: u64) {
        let name = name.to_owned();
        self.witnesses.push(Witness { name, count });
    }
}
