//! From rows, replies and what customers were told to numbers, and from numbers to a verdict.

use std::time::Duration;

use backstay::lease::{BootClock, Clock, Moment};
use tokio::time::Instant;

use super::world::Ended;
use super::{count, count::Counts};
use crate::experiment::LAG_LIMIT_MS;
use crate::experiment::rules::{must_show, none_of, told};
use crate::experiment::verdict::{Rule, found, promise, validity};
use crate::replies::ARMS;
use crate::report::history::{ArmHistory, Column, History, Lane, Spell, Witness};
use crate::report::seconds;

const BACKSTAY: &str = "backstay";
const ARTICLE: &str = "article";
const NO_KEY: &str = "nokey";
const NONE: &str = "none";

/// About a third of what 5 % of 30 s are.
const LOST_AT_LEAST: f64 = 50.0;

/// Ten failures in a row, which take longer at this load, open our breaker: that would be another experiment.
const AWAY_AT_MOST_MS: u64 = 50;

const LOSSES: &str = "replies lost";
const KILLS: &str = "servers killed and started again";
const AWAY: &str = "time without servers, in ms";
const LAG: &str = "generator lag at p99, in us";

const ORDERS: Column = Column {
    name: "orders",
    about: "orders that customers placed, each once as they see it",
};
const TWICE: Column = Column {
    name: "twice",
    about: "rows of an order after its first: charges too many",
};
const MISSING: Column = Column {
    name: "missing",
    about: "orders whose customers were told that they are done, without the row that they were told of",
};
const UNKNOWN: Column = Column {
    name: "unknown",
    about: "orders that are done, and whose customers were told that they failed",
};
const MISLED: Column = Column {
    name: "misled",
    about: "of these, told that nothing had happened",
};
const GAVE_UP: Column = Column {
    name: "gave up",
    about: "unknown orders given up before three attempts, or after a reply had come through",
};
const UNDONE: Column = Column {
    name: "undone",
    about: "orders that are not done, and whose customers were not told that they are",
};
const LOST: Column = Column {
    name: "lost",
    about: "replies that were lost on the way",
};
const ASKED: Column = Column {
    name: "asked",
    about: "lost replies of orders that were done whose customers came back and were answered",
};
const REPLAYS: Column = Column {
    name: "replays",
    about: "answers from the record of an earlier attempt",
};
const AFTER_KILL: Column = Column {
    name: "by kill",
    about: "replays of orders that the killed server had committed and not answered",
};

/// What is known of a run beside its arms.
#[derive(Debug)]
pub(super) struct Facts {
    /// The first moment of the load.
    pub(super) start: Instant,
    /// The same by the clock of the rows.
    started_at: Moment,
    pub(super) killed_at: Option<Duration>,
    pub(super) back_at: Option<Duration>,
    /// The end of the load.
    pub(super) until: Option<Duration>,
    pub(super) killed: u64,
}

impl Facts {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            started_at: BootClock
                .now()
                .plus(start.saturating_duration_since(Instant::now())),
            killed_at: None,
            back_at: None,
            until: None,
            killed: 0,
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn away(&self) -> Option<Duration> {
        Some(self.back_at?.saturating_sub(self.killed_at?))
    }

    pub(super) fn history(&self, arms: &[Ended], length: Duration) -> History {
        let lag = arms.iter().filter_map(|arm| arm.lag_p99).max();
        let lost = arms.iter().map(|arm| count::lost(&arm.exchanges)).min();
        let micros = |lag: Duration| u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        let witnesses = [
            (LOSSES, lost),
            (KILLS, Some(self.killed)),
            (AWAY, self.away().map(|away| micros(away) / 1_000)),
            (LAG, lag.map(micros)),
        ];
        let witness = |(name, count): (&str, Option<u64>)| {
            let name = name.to_owned();
            Some(Witness {
                name,
                count: count?,
            })
        };
        History {
            length_s: seconds(length),
            faults: self.faults(length),
            columns: vec![
                ORDERS, TWICE, MISSING, UNKNOWN, MISLED, GAVE_UP, UNDONE, LOST, ASKED, REPLAYS,
                AFTER_KILL,
            ],
            arms: arms.iter().map(|arm| self.arm(arm, length)).collect(),
            witnesses: witnesses.into_iter().filter_map(witness).collect(),
        }
    }

    fn faults(&self, length: Duration) -> Vec<Spell> {
        let losing = Spell::new(
            "replies are lost",
            Duration::ZERO,
            self.until.unwrap_or(length),
        );
        let kill = |at| Spell::new("servers killed", at, at);
        std::iter::once(losing)
            .chain(self.killed_at.map(kill))
            .collect()
    }

    fn arm(&self, ended: &Ended, length: Duration) -> ArmHistory {
        let counts = Counts::of(ended);
        let number = |count: usize| Some(count as f64);
        ArmHistory {
            name: ended.arm.name,
            about: ended.arm.about,
            numbers: vec![
                number(ended.orders.len()),
                number(counts.twice.len()),
                number(counts.missing),
                number(counts.unknown.len()),
                number(counts.misled),
                number(counts.gave_up),
                number(counts.undone),
                Some(count::lost(&ended.exchanges) as f64),
                number(counts.asked),
                number(counts.replays.len()),
                number(counts.by_kill),
            ],
            lanes: self.lanes(&counts, length),
        }
    }

    fn lanes(&self, counts: &Counts, length: Duration) -> Vec<Lane> {
        let at = |moment: &Moment| seconds(moment.since(self.started_at));
        let first = Spell::new(
            "first process",
            Duration::ZERO,
            self.killed_at.unwrap_or(length),
        );
        let second = self
            .back_at
            .map(|back| Spell::new("second process", back, length));
        vec![
            Lane {
                name: "charges".to_owned(),
                spells: std::iter::once(first).chain(second).collect(),
                good: counts.replays.iter().map(at).collect(),
                bad: counts.twice.iter().map(at).collect(),
            },
            Lane {
                name: "not told".to_owned(),
                spells: Vec::new(),
                good: Vec::new(),
                bad: counts.unknown.iter().copied().map(seconds).collect(),
            },
        ]
    }
}

pub(super) fn rules() -> Vec<Rule<History>> {
    let mut rules = vec![
        none_of(BACKSTAY, TWICE, "carries no order out twice"),
        none_of(BACKSTAY, MISSING, "loses no order that it says is done"),
        none_of(
            BACKSTAY,
            MISLED,
            "says of no order that is done that nothing has happened",
        ),
        none_of(
            BACKSTAY,
            GAVE_UP,
            "leaves nobody in the dark before three attempts were lost",
        ),
        replays(),
        must_show(ARTICLE, TWICE, "carries an order out twice"),
        must_show(NO_KEY, TWICE, "carries an order out twice"),
        must_show(NONE, UNKNOWN, "leaves somebody in the dark"),
    ];
    rules.extend([loses(), kills(), away(), lag()]);
    rules
}

/// Replies that the kill cut off are asked for again too; the proxy can't know them for lost.
fn replays() -> Rule<History> {
    promise(
        format!("{BACKSTAY} answers from the record whenever a lost reply is asked for again"),
        |run: &History| {
            let asked = run.number(BACKSTAY, ASKED.name)?;
            let replays = run.number(BACKSTAY, REPLAYS.name)?;
            let by_kill = run.number(BACKSTAY, AFTER_KILL.name)?;
            let missed = asked + by_kill - replays;
            let told = format!("{:.0} of {asked:.0}", replays - by_kill);
            found(missed == 0.0, told)
        },
    )
}

fn loses() -> Rule<History> {
    validity(
        format!("each arm loses {LOST_AT_LEAST} replies at least"),
        |run: &History| {
            let lost = run.witness(LOSSES)?;
            found(lost as f64 >= LOST_AT_LEAST, format!("{lost}"))
        },
    )
}

fn kills() -> Rule<History> {
    validity(
        "each arm's server is killed and comes back".to_owned(),
        |run: &History| {
            let (killed, arms) = (run.witness(KILLS)?, ARMS.len() as u64);
            found(killed == arms, format!("{killed} of {arms}"))
        },
    )
}

fn away() -> Rule<History> {
    validity(
        format!("the servers are back within {AWAY_AT_MOST_MS} ms"),
        |run: &History| {
            let away = run.witness(AWAY)?;
            found(away <= AWAY_AT_MOST_MS, format!("{away} ms"))
        },
    )
}

fn lag() -> Rule<History> {
    validity(
        format!("the generator's lag is at most {LAG_LIMIT_MS} ms at p99"),
        |run: &History| {
            let lag_ms = run.witness(LAG)? as f64 / 1e3;
            found(lag_ms <= LAG_LIMIT_MS, format!("{lag_ms:.1} ms"))
        },
    )
}

pub(super) fn headline(run: &History) -> String {
    let told = |arm: &str, column: Column| told(run, arm, column);
    format!(
        "Charged too often: article {}, retry without a key {}, backstay {} ({} replays). Done, and told that it failed: none {}, article {}, backstay {}.",
        told(ARTICLE, TWICE),
        told(NO_KEY, TWICE),
        told(BACKSTAY, TWICE),
        told(BACKSTAY, REPLAYS),
        told(NONE, UNKNOWN),
        told(ARTICLE, UNKNOWN),
        told(BACKSTAY, UNKNOWN),
    )
}

#[cfg(test)]
mod tests;
