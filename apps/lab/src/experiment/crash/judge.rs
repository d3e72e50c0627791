//! From books to numbers, and from numbers to a verdict.

use std::time::Duration;

use backstay::lease::{BootClock, Clock, Moment};
use tokio::time::Instant;

use super::count::{Known, orders};
use super::world::Ended;
use crate::experiment::rules::{must_show, none_of, told};
use crate::experiment::verdict::{Rule, found, promise, validity};
use crate::report::history::{ArmHistory, Column, History, Lane, Spell, Witness};
use crate::report::{rounded, seconds};
use crate::saga::order::{Call, Process};
use crate::saga::{ARMS, Arm};

const BACKSTAY: &str = "backstay";
const ARTICLE: &str = "article";
const NO_KEY: &str = "nokey";
const NONE: &str = "none";

const MISSED_POINTS: &str = "points of the plan that were not reached";
const POINTS: &str = "points of the plan that were";
const KILLS: &str = "processes killed and started again";

const ORDERS: Column = Column {
    name: "orders",
    about: "orders that customers placed; who is cut off asks again",
};
const ENDED: Column = Column {
    name: "ended",
    about: "orders that are confirmed once with their stock and their charge, or wholly undone",
};
const STUCK: Column = Column {
    name: "stuck",
    about: "orders that are neither confirmed nor wholly undone",
};
const ORPHANS: Column = Column {
    name: "orphans",
    about: "orders left pending, stock held for no confirmed order, and charges without one",
};
const TWICE: Column = Column {
    name: "twice",
    about: "charges of an order after its first, and refunds of one after its first",
};
const REFUNDED: Column = Column {
    name: "given away",
    about: "orders that are refunded though they are confirmed",
};
const MISSED: Column = Column {
    name: "missed",
    about: "orders that nobody refused, and that are not confirmed",
};
const MISLED: Column = Column {
    name: "misled",
    about: "orders whose customers were told otherwise than it is, or nothing",
};
const PAID: Column = Column {
    name: "paid",
    about: "money: charges less refunds",
};
const DUE: Column = Column {
    name: "due",
    about: "money: the amounts of confirmed orders, each once",
};
const LOST: Column = Column {
    name: "lost",
    about: "money: what customers paid for nothing, and what they got for nothing",
};

/// What became of each arm, in all of its worlds.
pub(super) fn history(worlds: &[Ended], start: Instant, length: Duration) -> History {
    let started_at = started_at(start);
    let count = |name: &str, count: usize| Witness {
        name: name.to_owned(),
        count: count as u64,
    };
    let to_reach: usize = worlds.iter().map(|world| world.to_reach).sum();
    let reached = worlds.iter().map(|world| world.reached).sum();
    let killed = worlds.iter().filter(|world| world.killed.is_some());
    let faults = worlds.iter().filter(|world| world.arm.name == BACKSTAY);
    History {
        length_s: seconds(length),
        faults: faults
            .filter_map(|world| {
                let (dead, back) = world.killed?;
                let name = format!("{} killed", world.victim.name());
                Some(Spell::new(&name, dead, back))
            })
            .collect(),
        columns: vec![
            ORDERS, ENDED, STUCK, ORPHANS, TWICE, REFUNDED, MISSED, MISLED, PAID, DUE, LOST,
        ],
        arms: ARMS
            .into_iter()
            .map(|arm| of_arm(arm, worlds, started_at, length))
            .collect(),
        witnesses: vec![
            count(POINTS, reached),
            count(MISSED_POINTS, to_reach.saturating_sub(reached)),
            count(KILLS, killed.count()),
        ],
    }
}

/// Orders of ours that did not end, and where they were when the process was killed.
pub(super) fn not_ended(worlds: &[Ended]) -> Vec<String> {
    let ours = worlds.iter().filter(|world| world.arm.name == BACKSTAY);
    let told = |world: &Ended| {
        let victim = world.victim.name();
        let known = orders(world).into_iter();
        let open = known.filter(|known| !known.tally.is_ended());
        let line = move |known: Known| {
            let (point, Known { order, tally, .. }) = (known.point, known);
            format!("{victim} killed, {:?}, {point:?}: {tally:?}", order.flow)
        };
        open.map(line).collect::<Vec<_>>()
    };
    ours.flat_map(told).collect()
}

/// The same moment by the clock of the rows.
fn started_at(start: Instant) -> Moment {
    let now = BootClock.now().as_nanos();
    let since = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Moment::from_nanos(now.saturating_sub(since))
}

fn of_arm(arm: Arm, worlds: &[Ended], started_at: Moment, length: Duration) -> ArmHistory {
    let worlds: Vec<&Ended> = worlds.iter().filter(|world| world.arm == arm).collect();
    let orders: Vec<Known> = worlds.iter().flat_map(|world| orders(world)).collect();
    let number = |count: i64| Some(count as f64);
    let sum = |of: &dyn Fn(&Known) -> i64| number(orders.iter().map(of).sum());
    let how_many = |is: &dyn Fn(&Known) -> bool| sum(&|known| i64::from(is(known)));
    let money = |of: &dyn Fn(&Known) -> i64| sum(of).map(|cents| rounded(cents / 100.0));
    let cents = |known: &Known| known.order.cents.cast_signed();
    ArmHistory {
        name: arm.name,
        about: arm.about,
        numbers: vec![
            sum(&|_| 1),
            how_many(&|known| known.tally.is_ended()),
            how_many(&|known| known.tally.is_stuck()),
            sum(&|known| known.tally.orphans()),
            sum(&|known| known.tally.twice()),
            how_many(&|known| known.tally.is_refunded_though_confirmed()),
            how_many(&Known::is_missed),
            how_many(&Known::is_misled),
            money(&|known| known.tally.paid * cents(known)),
            money(&|known| known.tally.confirmed.min(1) * cents(known)),
            money(&|known| known.tally.too_much(known.order.cents).abs()),
        ],
        lanes: worlds
            .iter()
            .map(|world| lane(world, started_at, length))
            .collect(),
    }
}

/// The process that is killed, with the confirmations that were right and the effects of orders that went wrong.
fn lane(world: &Ended, started_at: Moment, length: Duration) -> Lane {
    let (dead, back) = world.killed.unwrap_or((length, length));
    let first = Spell::new("first process", Duration::ZERO, dead);
    let second = (back < length).then(|| Spell::new("second process", back, length));
    let known = orders(world);
    let is_right = |number: i64| {
        let mut known = known.iter();
        known.any(|known| known.order.number.cast_signed() == number && known.tally.is_ended())
    };
    let at = |id: i64| seconds(Moment::from_nanos(id.unsigned_abs()).since(started_at));
    let rows = world.rows.iter();
    let good = rows.filter(|row| row.call == Call::Confirm && is_right(row.order));
    // The last of each is enough.
    let bad = known.iter().filter(|known| !known.tally.is_ended());
    let last = |known: &Known| {
        let rows = world.rows.iter();
        let rows = rows.filter(|row| row.order == known.order.number.cast_signed());
        rows.map(|row| row.id).max()
    };
    Lane {
        name: world.victim.name().to_owned(),
        spells: std::iter::once(first).chain(second).collect(),
        good: good.map(|row| at(row.id)).collect(),
        bad: bad.filter_map(last).map(at).collect(),
    }
}

pub(super) fn rules() -> Vec<Rule<History>> {
    vec![
        all_end(),
        none_of(BACKSTAY, STUCK, "leaves no order stuck"),
        none_of(
            BACKSTAY,
            ORPHANS,
            "leaves nothing behind that belongs to no order",
        ),
        none_of(BACKSTAY, TWICE, "charges and refunds nobody twice"),
        none_of(BACKSTAY, REFUNDED, "refunds no confirmed order"),
        none_of(BACKSTAY, LOST, "loses no money"),
        balance(),
        none_of(
            BACKSTAY,
            MISSED,
            "carries out every order that nobody refuses",
        ),
        none_of(BACKSTAY, MISLED, "tells every customer how it is"),
        must_show(NONE, STUCK, "leaves orders stuck"),
        must_show(ARTICLE, STUCK, "leaves orders stuck"),
        must_show(ARTICLE, ORPHANS, "leaves orphans"),
        must_show(ARTICLE, TWICE, "charges or refunds somebody twice"),
        must_show(ARTICLE, REFUNDED, "refunds a confirmed order"),
        must_show(ARTICLE, LOST, "loses money"),
        must_show(NO_KEY, ORPHANS, "leaves orphans"),
        reached(),
        kills(),
    ]
}

fn all_end() -> Rule<History> {
    promise(format!("{BACKSTAY} ends every order"), |run: &History| {
        let (ended, orders) = (
            run.number(BACKSTAY, ENDED.name)?,
            run.number(BACKSTAY, ORDERS.name)?,
        );
        let left = orders - ended;
        found(left == 0.0, format!("{ended:.0} of {orders:.0}"))
    })
}

fn balance() -> Rule<History> {
    promise(
        format!("{BACKSTAY}'s charges less its refunds are what its confirmed orders cost"),
        |run: &History| {
            let paid = run.number(BACKSTAY, PAID.name)?;
            let due = run.number(BACKSTAY, DUE.name)?;
            found(
                (paid - due).abs() < 0.005,
                format!("{paid:.2} and {due:.2}"),
            )
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
        "each process is killed once in each arm and comes back".to_owned(),
        |run: &History| {
            let (killed, all) = (
                run.witness(KILLS)?,
                (ARMS.len() * Process::ALL.len()) as u64,
            );
            found(killed == all, format!("{killed} of {all}"))
        },
    )
}

pub(super) fn headline(run: &History) -> String {
    let told = |arm: &str, column: Column| told(run, arm, column);
    let of = |arm: &str| {
        format!(
            "{} stuck, {} orphans, {} done twice, {} given away, {} lost (paid {}, due {})",
            told(arm, STUCK),
            told(arm, ORPHANS),
            told(arm, TWICE),
            told(arm, REFUNDED),
            told(arm, LOST),
            told(arm, PAID),
            told(arm, DUE),
        )
    };
    format!("Article: {}. Backstay: {}.", of(ARTICLE), of(BACKSTAY))
}

#[cfg(test)]
mod tests;
