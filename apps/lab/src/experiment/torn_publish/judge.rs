//! From both sides to numbers, and from numbers to a verdict.

use std::time::Duration;

use super::count::{Known, Shown, orders, sums_off};
use super::world::{EQUAL_WITHIN, Ended};
use crate::experiment::rules::{must_show, none_of, told};
use crate::experiment::verdict::{Rule, found, promise, validity};
use crate::report::history::{ArmHistory, Column, History, Lane, Spell, Witness};
use crate::report::seconds;
use crate::torn::customer::Read;
use crate::torn::order::Process;
use crate::torn::{ARMS, Arm};

const BACKSTAY: &str = "backstay";
const ARTICLE: &str = "article";
const NO_INBOX: &str = "noinbox";
const NONE: &str = "none";

const MISSED_POINTS: &str = "points of the plan that were not reached";
const POINTS: &str = "points of the plan that were";
const KILLS: &str = "worlds whose process was killed and started again";
const WORLDS: &str = "worlds";

const ORDERS: Column = Column {
    name: "orders",
    about: "orders of customers, each in one place when a process is killed; who is cut off asks again",
};
const UNWRITTEN: Column = Column {
    name: "unwritten",
    about: "orders that the write side does not have as their customers were told",
};
const MISSING: Column = Column {
    name: "missing",
    about: "orders that the read side does not have in the end",
};
const STALE: Column = Column {
    name: "stale",
    about: "orders that it has as they were before",
};
const TWICE: Column = Column {
    name: "twice",
    about: "orders of which it has counted a change twice",
};
const WRONG: Column = Column {
    name: "wrong",
    about: "orders that it has as they never were",
};
const SUMS: Column = Column {
    name: "sums off",
    about: "customers whose sum in the read side is not that of their orders in the write side",
};
const PAIRS: Column = Column {
    name: "pairs",
    about: "writers with their readers; the arms with a relay have more, because one order at a time is held on its way",
};
const EQUAL: Column = Column {
    name: "equal",
    about: "pairs whose checksums are equal in the end",
};
const EQUAL_AFTER: Column = Column {
    name: "equal after",
    about: "the longest from a kill until they were, in seconds; none where a pair never was",
};
const READS: Column = Column {
    name: "reads",
    about: "reads of a customer right after the answer to its write",
};
const NOT_YET: Column = Column {
    name: "not yet",
    about: "of them refused with the position that is shown",
};
const UNSEEN: Column = Column {
    name: "unseen",
    about: "of them answered as if the write had not been",
};

/// What became of each arm, in all of its worlds. Times are from the start of each world.
pub(super) fn history(worlds: &[Ended], length: Duration) -> History {
    let count = |name: &str, count: usize| Witness {
        name: name.to_owned(),
        count: count as u64,
    };
    let points: usize = worlds.iter().map(|world| world.plan.len()).sum();
    let reached = worlds.iter().map(|world| world.reached).sum();
    let killed = worlds.iter().filter(|world| world.killed.is_some());
    let fault = |victim: Process| {
        let (dead, back) = away(&of(BACKSTAY, victim, worlds))?;
        Some(Spell::new(&format!("{} killed", victim.name()), dead, back))
    };
    History {
        length_s: seconds(length),
        faults: Process::ALL.into_iter().filter_map(fault).collect(),
        columns: vec![
            ORDERS,
            UNWRITTEN,
            MISSING,
            STALE,
            TWICE,
            WRONG,
            SUMS,
            PAIRS,
            EQUAL,
            EQUAL_AFTER,
            READS,
            NOT_YET,
            UNSEEN,
        ],
        arms: ARMS.into_iter().map(|arm| of_arm(arm, worlds)).collect(),
        witnesses: vec![
            count(POINTS, reached),
            count(MISSED_POINTS, points.saturating_sub(reached)),
            count(KILLS, killed.count()),
            count(WORLDS, worlds.len()),
        ],
    }
}

/// Orders of ours that are not shown as they should be, and where they were when the process was killed.
pub(super) fn not_equal(worlds: &[Ended]) -> Vec<String> {
    let ours = worlds
        .iter()
        .filter(|world| world.setting.arm.name == BACKSTAY);
    let told = |world: &Ended| {
        let victim = world.setting.victim.name();
        let known = orders(world).into_iter();
        let bad = known.filter(|known| !known.is_right());
        let line = move |known: Known| {
            let Known {
                point,
                is_written,
                shown,
            } = known;
            format!("{victim} killed, {point:?}: written {is_written}, {shown:?}")
        };
        bad.map(line).collect::<Vec<_>>()
    };
    ours.flat_map(told).collect()
}

impl Known {
    fn is_right(&self) -> bool {
        self.is_written && self.shown == Shown::Right
    }
}

impl Ended {
    fn is_equal(&self) -> bool {
        self.write.checksum() == self.read.checksum()
    }
}

fn of<'w>(arm: &str, victim: Process, worlds: &'w [Ended]) -> Vec<&'w Ended> {
    let is_one = |world: &&Ended| world.setting.arm.name == arm && world.setting.victim == victim;
    worlds.iter().filter(is_one).collect()
}

/// From when the first process was dead until the last was back.
fn away(worlds: &[&Ended]) -> Option<(Duration, Duration)> {
    let killed = || worlds.iter().filter_map(|world| world.killed);
    let dead = killed().map(|(dead, _)| dead).min()?;
    Some((dead, killed().map(|(_, back)| back).max()?))
}

fn of_arm(arm: Arm, worlds: &[Ended]) -> ArmHistory {
    let lanes = Process::ALL.map(|victim| lane(victim, &of(arm.name, victim, worlds)));
    let worlds: Vec<&Ended> = worlds
        .iter()
        .filter(|world| world.setting.arm == arm)
        .collect();
    let orders: Vec<Known> = worlds.iter().flat_map(|world| orders(world)).collect();
    let reads: Vec<Read> = worlds
        .iter()
        .flat_map(|world| world.reads.iter().map(|(_, read)| *read))
        .collect();
    let number = |count: usize| Some(count as f64);
    let shown = |is: Shown| number(orders.iter().filter(|known| known.shown == is).count());
    let read = |is: Read| number(reads.iter().filter(|read| **read == is).count());
    let unwritten = orders.iter().filter(|known| !known.is_written);
    let equal = worlds.iter().filter(|world| world.is_equal());
    let after: Option<Vec<Duration>> = worlds.iter().map(|world| world.equal_after).collect();
    let off = |world: &&Ended| sums_off(&world.write, &world.read);
    ArmHistory {
        name: arm.name,
        about: arm.about,
        numbers: vec![
            number(orders.len()),
            number(unwritten.count()),
            shown(Shown::Missing),
            shown(Shown::Stale),
            shown(Shown::Twice),
            shown(Shown::Wrong),
            number(worlds.iter().map(off).sum()),
            number(worlds.len()),
            number(equal.count()),
            after.and_then(|after| after.into_iter().max()).map(seconds),
            number(reads.len()),
            read(Read::NotYet),
            read(Read::Unseen),
        ],
        lanes: lanes.into(),
    }
}

/// The process that is killed, with when worlds became equal, and the kills of those that did not, for each order that is wrong.
fn lane(victim: Process, worlds: &[&Ended]) -> Lane {
    let (dead, back) = away(worlds).unwrap_or_default();
    let mut lane = Lane {
        name: victim.name().to_owned(),
        spells: vec![Spell::new("first process", Duration::ZERO, dead)],
        good: Vec::new(),
        bad: Vec::new(),
    };
    for world in worlds {
        let Some((dead, _)) = world.killed else {
            continue;
        };
        let wrong = orders(world).into_iter();
        let wrong = wrong.filter(|known| !known.is_right()).count();
        lane.bad.extend(vec![seconds(dead); wrong]);
        lane.good
            .extend(world.equal_after.map(|after| seconds(dead + after)));
    }
    let never = worlds.iter().any(|world| world.equal_after.is_none());
    let watched = if never { back + EQUAL_WITHIN } else { back };
    let last = lane.good.iter().copied().fold(seconds(watched), f64::max);
    lane.spells.push(Spell {
        until_s: last,
        ..Spell::new("second process", back, back)
    });
    lane
}

pub(super) fn rules() -> Vec<Rule<History>> {
    vec![
        none_of(BACKSTAY, UNWRITTEN, "has written what customers were told"),
        none_of(BACKSTAY, MISSING, "misses no order in its read side"),
        none_of(BACKSTAY, STALE, "shows no order as it was before"),
        none_of(BACKSTAY, TWICE, "counts nothing twice"),
        none_of(BACKSTAY, WRONG, "shows no order as it never was"),
        none_of(BACKSTAY, SUMS, "has every customer's sum"),
        all_equal(),
        none_of(
            BACKSTAY,
            UNSEEN,
            "shows what was just written, or says how far it is",
        ),
        must_show(NONE, MISSING, "misses orders"),
        must_show(NONE, STALE, "shows orders as they were before"),
        must_show(ARTICLE, MISSING, "misses orders"),
        must_show(ARTICLE, STALE, "shows orders as they were before"),
        must_show(ARTICLE, UNSEEN, "does not show what was just written"),
        must_show(NO_INBOX, TWICE, "counts changes twice"),
        must_show(BACKSTAY, READS, "is read"),
        reached(),
        kills(),
    ]
}

fn all_equal() -> Rule<History> {
    let within = EQUAL_WITHIN.as_secs();
    promise(
        format!("{BACKSTAY}'s sides have equal checksums {within} s after a process is back"),
        |run: &History| {
            let (equal, pairs) = (
                run.number(BACKSTAY, EQUAL.name)?,
                run.number(BACKSTAY, PAIRS.name)?,
            );
            let after = run.number(BACKSTAY, EQUAL_AFTER.name);
            let told = after.map_or_else(
                || format!("{equal} of {pairs}"),
                |after| format!("{equal} of {pairs}, the last {after:.1} s after the kill"),
            );
            let left = pairs - equal;
            found(left == 0.0 && after.is_some(), told)
        },
    )
}

fn reached() -> Rule<History> {
    validity(
        "every order is at its point when the process is killed".to_owned(),
        |run: &History| {
            let (reached, missed) = (run.witness(POINTS)?, run.witness(MISSED_POINTS)?);
            let all = reached + missed;
            found(missed == 0 && all > 0, format!("{reached} of {all}"))
        },
    )
}

fn kills() -> Rule<History> {
    validity(
        "in each world a process is killed and comes back".to_owned(),
        |run: &History| {
            let (killed, all) = (run.witness(KILLS)?, run.witness(WORLDS)?);
            found(killed == all && all > 0, format!("{killed} of {all}"))
        },
    )
}

pub(super) fn headline(run: &History) -> String {
    let told = |arm: &str, column: Column| told(run, arm, column);
    let of = |arm: &str| {
        format!(
            "of {} orders {} missing, {} stale, {} counted twice; {} of {} pairs equal",
            told(arm, ORDERS),
            told(arm, MISSING),
            told(arm, STALE),
            told(arm, TWICE),
            told(arm, EQUAL),
            told(arm, PAIRS),
        )
    };
    format!("Article: {}. Backstay: {}.", of(ARTICLE), of(BACKSTAY))
}

#[cfg(test)]
mod tests;
