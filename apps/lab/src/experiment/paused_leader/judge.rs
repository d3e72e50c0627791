//! From what was written to numbers, and from numbers to a verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use backstay::lease::{BootClock, Clock, Moment};
use tokio::time::Instant;

use super::{CUT_OFF, STEPPED, STOPPED};
use crate::experiment::rules::{must_show, none_of, told};
use crate::experiment::verdict::{Rule, found, promise, validity};
use crate::leader::resource::Logged;
use crate::leader::{ARMS, Arm, Way};
use crate::report::history::{ArmHistory, Column, History, Lane, Spell, Witness};
use crate::report::rounded;

const BACKSTAY: &str = "backstay";
const ARTICLE: &str = "article";
const NO_FENCE: &str = "nofence";
const NONE: &str = "none";

/// Our default time to live, and one second.
const FAILOVER_S: f64 = 11.0;
/// Somebody leads at the end, or the election does not go on.
const WRITES_UNTIL_S: f64 = 3.0;

const WRITES: Column = Column {
    name: "writes",
    about: "writes that were accepted",
};
const LOST: Column = Column {
    name: "lost",
    about: "accepted writes that another writer has undone without knowing: accepted, less what the number came to",
};
const STALE: Column = Column {
    name: "stale",
    about: "accepted writes of a former leader after a write of a later one",
};
const REFUSED: Column = Column {
    name: "refused",
    about: "writes of a former leader that the fence refused",
};
const FAILOVER: Column = Column {
    name: "failover",
    about: "longest time, in s, from a leader's stop or cut to the next leader's first accepted write",
};
const GAP: Column = Column {
    name: "gap",
    about: "longest time, in s, without an accepted write, after the first",
};
const SINCE: Column = Column {
    name: "since",
    about: "time, in s, from the last accepted write to the end",
};

/// What is known of a run but what was written.
#[derive(Debug)]
pub(super) struct Facts {
    start: Instant,
    /// The same by the clock of the writes.
    started_at: Moment,
    pub(super) faults: Vec<Spell>,
    pub(super) witnesses: Vec<Witness>,
    /// Whom a fault has hit, and when, arm by arm.
    hits: BTreeMap<&'static str, Vec<(usize, Moment)>>,
}

impl Facts {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            started_at: BootClock.now(),
            faults: Vec::new(),
            witnesses: Vec::new(),
            hits: BTreeMap::new(),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(super) fn hit(&mut self, arm: &'static str, node: usize) {
        let hits = self.hits.entry(arm).or_default();
        hits.push((node, BootClock.now()));
    }

    pub(super) fn last_hit(&self, arm: &str) -> usize {
        let hits = self.hits.get(arm).and_then(|hits| hits.last());
        hits.map_or(0, |(node, _)| *node)
    }

    pub(super) fn history(self, logs: &[(Arm, Vec<Logged>)]) -> History {
        let end = BootClock.now();
        let arms = logs.iter().map(|(arm, log)| self.arm(*arm, log, end));
        History {
            arms: arms.collect(),
            columns: vec![WRITES, LOST, STALE, REFUSED, FAILOVER, GAP, SINCE],
            faults: self.faults,
            witnesses: self.witnesses,
            ..History::default()
        }
    }

    fn arm(&self, arm: Arm, log: &[Logged], end: Moment) -> ArmHistory {
        let accepted: Vec<_> = log.iter().filter(|logged| logged.accepted).collect();
        let count = accepted.len() as f64;
        let last = accepted.last();
        let value = last.map_or(0, |logged| logged.write.value);
        let gaps = accepted.windows(2).map(|two| at(two[1]).since(at(two[0])));
        let gap = gaps.max().map(|gap| gap.as_secs_f64());
        let since = last.map(|last| end.since(at(last)).as_secs_f64());
        // Where everybody writes nobody takes over.
        let failover = (arm.way != Way::None).then(|| self.failover(arm.name, &accepted));
        ArmHistory {
            name: arm.name,
            about: arm.about,
            numbers: vec![
                Some(count),
                Some(count - value as f64),
                Some(stale(&accepted).len() as f64),
                Some((log.len() - accepted.len()) as f64),
                failover.flatten(),
                gap,
                since,
            ],
            lanes: self.lanes(log, &stale(&accepted)),
        }
    }

    /// None if somebody was not replaced.
    fn failover(&self, arm: &str, accepted: &[&Logged]) -> Option<f64> {
        let hits = self.hits.get(arm)?;
        let replaced = hits.iter().map(|(node, when)| {
            let other =
                |logged: &&&Logged| usize::from(logged.write.node) != *node && at(logged) > *when;
            let next = accepted.iter().find(other)?;
            Some(at(next).since(*when).as_secs_f64())
        });
        let replaced: Option<Vec<f64>> = replaced.collect();
        replaced?.into_iter().reduce(f64::max)
    }

    fn lanes(&self, log: &[Logged], stale: &[&Logged]) -> Vec<Lane> {
        let second = |logged: &Logged| rounded(at(logged).since(self.started_at).as_secs_f64());
        let nodes = log.iter().map(|logged| logged.write.node).max();
        let lanes = (0..=nodes.unwrap_or(0)).map(|node| {
            let of_node = |logged: &&Logged| logged.write.node == node;
            let mut spells: Vec<Spell> = Vec::new();
            for logged in log.iter().filter(of_node).filter(|logged| logged.accepted) {
                let (at, name) = (second(logged), format!("term {}", logged.write.term));
                match spells.last_mut() {
                    Some(spell) if spell.name == name && at - spell.until_s < 1.0 => {
                        spell.until_s = at;
                    }
                    _ => spells.push(Spell {
                        name,
                        from_s: at,
                        until_s: at,
                    }),
                }
            }
            let refused = log.iter().filter(of_node).filter(|logged| !logged.accepted);
            Lane {
                name: format!("process {node}"),
                spells,
                good: refused.map(second).collect(),
                bad: stale.iter().copied().filter(of_node).map(second).collect(),
            }
        });
        lanes.collect()
    }
}

fn at(logged: &Logged) -> Moment {
    Moment::from_nanos(logged.at)
}

/// Writes under a lower term than one before.
fn stale<'l>(accepted: &[&'l Logged]) -> Vec<&'l Logged> {
    let mut highest = 0;
    let mut stale = Vec::new();
    for logged in accepted {
        if logged.write.term < highest {
            stale.push(*logged);
        }
        highest = highest.max(logged.write.term);
    }
    stale
}

pub(super) fn rules() -> Vec<Rule<History>> {
    let mut rules = vec![
        none_of(BACKSTAY, STALE, "accepts no stale write"),
        none_of(BACKSTAY, LOST, "loses no write"),
        at_most(FAILOVER, FAILOVER_S, "replaces a leader"),
        at_most(
            SINCE,
            WRITES_UNTIL_S,
            "goes on: its last write is before the end",
        ),
        must_show(ARTICLE, STALE, "shows a write that is stale"),
        must_show(NO_FENCE, STALE, "shows a write that is stale"),
        must_show(NONE, LOST, "shows a write that is lost"),
        a_late_write_comes(),
    ];
    rules.extend([
        must_bite(STOPPED, "stops a leader in every arm", ARMS.len() as u64),
        must_bite(
            CUT_OFF,
            "holds a leader's words back in every arm that asks",
            ARMS.len() as u64 - 1,
        ),
        must_bite(
            STEPPED,
            "ends the lease of every arm that asks",
            ARMS.len() as u64 - 1,
        ),
    ]);
    rules
}

fn at_most(column: Column, seconds: f64, what: &str) -> Rule<History> {
    promise(
        format!("{BACKSTAY} {what} by at most {seconds} s"),
        move |run: &History| {
            // A leader that was not replaced at all breaks it.
            let took = run.number(BACKSTAY, column.name).unwrap_or(f64::INFINITY);
            found(took <= seconds, format!("{took:.1} s"))
        },
    )
}

/// Accepted or not: else the fence had nothing to do.
fn a_late_write_comes() -> Rule<History> {
    let text = format!("a former leader's write comes to {BACKSTAY}'s store");
    validity(text, |run: &History| {
        let count = run.number(BACKSTAY, REFUSED.name)? + run.number(BACKSTAY, STALE.name)?;
        found(count >= 1.0, format!("{count:.0}"))
    })
}

fn must_bite(fault: &'static str, what: &str, times: u64) -> Rule<History> {
    validity(format!("the fault {what}"), move |run: &History| {
        let count = run.witness(fault)?;
        found(count >= times, format!("{count} of {times}"))
    })
}

pub(super) fn headline(run: &History) -> String {
    let told = |arm: &str, column: Column| told(run, arm, column);
    format!(
        "Stale writes accepted: article {}, without the fence {}, backstay {} ({} refused). Writes lost: none {}, article {}, backstay {}.",
        told(ARTICLE, STALE),
        told(NO_FENCE, STALE),
        told(BACKSTAY, STALE),
        told(BACKSTAY, REFUSED),
        told(NONE, LOST),
        told(ARTICLE, LOST),
        told(BACKSTAY, LOST),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::verdict::{Verdict, judge};
    use crate::leader::resource::Write;

    fn write(second: u64, node: u8, term: u64, value: u64, accepted: bool) -> Logged {
        Logged {
            at: second * 1_000_000_000,
            write: Write {
                arm: "arm".to_owned(),
                node,
                value,
                term,
                fence: None,
            },
            accepted,
        }
    }

    fn facts() -> Facts {
        let mut facts = Facts::new(Instant::now());
        facts.started_at = Moment::default();
        for arm in ARMS {
            let when = Moment::from_nanos(2_000_000_000);
            facts.hits.insert(arm.name, vec![(0, when)]);
        }
        facts.witnesses = [(STOPPED, 4), (CUT_OFF, 4), (STEPPED, 3)]
            .map(|(name, count)| Witness {
                name: name.to_owned(),
                count,
            })
            .into();
        facts
    }

    /// A leader of term 1, another of term 2, and the first again.
    fn zombie(accepted: bool) -> Vec<Logged> {
        let now = BootClock.now().as_nanos() / 1_000_000_000;
        vec![
            write(1, 0, 1, 1, true),
            write(8, 1, 2, 2, true),
            write(9, 0, 1, 2, accepted),
            write(now, 1, 2, 3, true),
        ]
    }

    fn verdict(backstay: &[Logged]) -> (Verdict, Vec<String>) {
        let logs: Vec<_> = ARMS
            .into_iter()
            .map(|arm| {
                (
                    arm,
                    if arm.name == BACKSTAY {
                        backstay.to_vec()
                    } else {
                        zombie(true)
                    },
                )
            })
            .collect();
        let history = facts().history(&logs);
        let (verdict, reasons, _) = judge(&rules(), &history, None);
        (verdict, reasons)
    }

    #[test]
    fn a_zombies_write_is_counted() {
        let arm = facts().arm(ARMS[1], &zombie(true), BootClock.now());
        assert_eq!(
            arm.numbers[..5],
            [Some(4.0), Some(1.0), Some(1.0), Some(0.0), Some(6.0)]
        );
        assert_eq!(arm.lanes[0].bad, [9.0]);
        let arm = facts().arm(ARMS[3], &zombie(false), BootClock.now());
        assert_eq!(
            arm.numbers[..5],
            [Some(3.0), Some(0.0), Some(0.0), Some(1.0), Some(6.0)]
        );
        assert_eq!(arm.lanes[0].good, [9.0]);
    }

    #[test]
    fn verdicts() {
        let (passed, reasons) = verdict(&zombie(false));
        assert_eq!(passed, Verdict::Pass, "{reasons:?}");
        let (failed, reasons) = verdict(&zombie(true));
        assert_eq!(failed, Verdict::Fail, "it was accepted: {reasons:?}");
        let no_zombie = [0, 1, 3].map(|at| zombie(false)[at].clone());
        assert_eq!(verdict(&no_zombie).0, Verdict::Invalid, "no late write");
        let mut stale = zombie(false);
        stale.insert(3, write(10, 0, 1, 2, true));
        assert_eq!(verdict(&stale).0, Verdict::Fail);
        let never_replaced = [zombie(false)[0].clone(), zombie(false)[2].clone()];
        assert_eq!(verdict(&never_replaced).0, Verdict::Fail);
    }
}
