//! From what was wrong to numbers, and from numbers to a verdict.

use std::time::Duration;

use backstay::lease::Moment;

use super::count::Counts;
use super::plan::Fault;
use super::world::Ended;
use crate::experiment::rules::{must_show, none_of, told};
use crate::experiment::verdict::{Rule, found, promise, validity};
use crate::keys::ours::{BOUND, HEARTBEAT};
use crate::keys::{ARMS, Arm};
use crate::report::history::{ArmHistory, Column, History, Lane, Spell, Witness};
use crate::report::seconds;

const BACKSTAY: &str = "backstay";
const CACHED: &str = "cached";
const NO_BOUND: &str = "nobound";
const ARTICLE: &str = "article";
const NONE: &str = "none";

/// A wait for the next look of ours, 1 s at most, an answer that waits for a second, and as much again.
const BACK_WITHIN_S: f64 = 4.0;
/// So often at least a revoked key is shown past the bound while the door is cut off, or nothing was tried.
const TRIED_AT_LEAST: u64 = 10;

const CUTS: &str = "doors that were cut off";
const RESTARTS: &str = "doors that were started again";
const DOORS: &str = "doors";
const TRIED: &str = "fewest answers to a revoked key past the bound, of a door that is cut off";
const REFUSED: &str =
    "such answers of the article's that refuse it, at any time before the link heals";

const SHOWN: Column = Column {
    name: "shown",
    about: "keys that were shown at a door",
};
const USED: Column = Column {
    name: "used",
    about: "revoked keys that were let in, after their revocation was acknowledged",
};
const EARLY: Column = Column {
    name: "all well",
    about: "the longest, in seconds, from a revocation until the key was let in, while nothing is cut",
};
const LATE: Column = Column {
    name: "longest",
    about: "the same of keys that are revoked while the authority can't be reached",
};
const PAST: Column = Column {
    name: "past 4 s",
    about: "revoked keys that were let in more than 4 s after their revocation was acknowledged",
};
const LIES: Column = Column {
    name: "lies",
    about: "answers that were not so at any moment within the age that they say; none where none is said",
};
const GOOD: Column = Column {
    name: "good",
    about: "keys that were shown and not revoked",
};
const AWAY: Column = Column {
    name: "turned away",
    about: "of them not let in: the price of a no where nobody knows",
};
const DISK: Column = Column {
    name: "from disk",
    about: "answers by what the process before it had kept",
};
const BACK: Column = Column {
    name: "back",
    about: "the longest, in seconds, from when a link was whole again until the last wrong answer; none where the last was wrong",
};

/// What became of each arm, in all of its worlds.
pub(super) fn history(worlds: &[Ended], start: Moment, length: Duration) -> History {
    let count = |name: &str, count: u64| Witness {
        name: name.to_owned(),
        count,
    };
    let known = |is: fn(&Ended) -> bool| worlds.iter().filter(|world| is(world)).count() as u64;
    let cut_off = |arm: &str| {
        let of_arm = worlds.iter().filter(move |world| {
            world.setting.arm.name == arm && world.setting.fault.keeps_memory()
        });
        of_arm.map(Counts::of).collect::<Vec<_>>()
    };
    let tried = [ARTICLE, NO_BOUND, CACHED, BACKSTAY].into_iter();
    let tried = tried.flat_map(cut_off);
    let tried = tried.map(|counts| counts.while_cut_past_bound).min();
    let refused = cut_off(ARTICLE).into_iter();
    let refused = refused
        .map(|counts| counts.refused_while_cut)
        .sum::<usize>();
    History {
        length_s: seconds(length),
        faults: faults(worlds, start, length),
        columns: vec![SHOWN, USED, EARLY, LATE, PAST, LIES, GOOD, AWAY, DISK, BACK],
        arms: ARMS
            .into_iter()
            .map(|arm| of_arm(arm, worlds, start, length))
            .collect(),
        witnesses: vec![
            count(DOORS, worlds.len() as u64),
            count(CUTS, known(|world| world.known.is_cut)),
            count(RESTARTS, known(|world| world.known.is_restarted)),
            count(TRIED, tried.unwrap_or_default() as u64),
            count(REFUSED, refused as u64),
        ],
    }
}

/// All worlds are cut at the same moment, as far as that goes.
fn faults(worlds: &[Ended], start: Moment, length: Duration) -> Vec<Spell> {
    let cut = worlds.iter().filter_map(|world| world.known.cut).min();
    let healed = worlds.iter().filter_map(|world| world.known.healed).max();
    let since = |moment: Moment| moment.since(start);
    let spell = cut.map(|cut| {
        let until = healed.map_or(length, since);
        Spell::new("authority out of reach", since(cut), until)
    });
    spell.into_iter().collect()
}

fn of_arm(arm: Arm, worlds: &[Ended], start: Moment, length: Duration) -> ArmHistory {
    let worlds: Vec<(&Ended, Counts)> = worlds
        .iter()
        .filter(|world| world.setting.arm == arm)
        .map(|world| (world, Counts::of(world)))
        .collect();
    let sum = |of: fn(&Counts) -> usize| {
        let sum: usize = worlds.iter().map(|(_, counts)| of(counts)).sum();
        Some(sum as f64)
    };
    let longest = |of: fn(&Counts) -> Duration| {
        let all = worlds.iter().map(|(_, counts)| of(counts));
        all.max().map(seconds)
    };
    let back: Option<Vec<Duration>> = worlds.iter().map(|(_, counts)| counts.back).collect();
    let back = back.and_then(|back| back.into_iter().max());
    ArmHistory {
        name: arm.name,
        about: arm.about,
        numbers: vec![
            sum(|counts| counts.shown),
            sum(|counts| counts.used.len()),
            longest(|counts| counts.early),
            longest(|counts| counts.late),
            sum(|counts| counts.past_bound),
            sum(|counts| counts.lies),
            sum(|counts| counts.good),
            sum(|counts| counts.turned_away.len()),
            sum(|counts| counts.from_disk),
            back.map(seconds),
        ],
        lanes: worlds
            .iter()
            .flat_map(|(world, counts)| lanes(world, counts, start, length))
            .collect(),
    }
}

/// One for the revoked keys of a door, one for who is turned away; bars are when its link was whole.
fn lanes(world: &Ended, counts: &Counts, start: Moment, length: Duration) -> [Lane; 2] {
    let since = |moment: Moment| moment.since(start);
    let at = |moments: &[Moment]| {
        let all = moments.iter().map(|moment| seconds(since(*moment)));
        all.collect()
    };
    let known = world.known;
    let until = known.cut.map_or(length, since);
    let first = Spell::new("link whole", Duration::ZERO, until);
    let second = known.healed.map(since);
    let second = second.map(|healed| Spell::new("link whole again", healed, length));
    [
        Lane {
            name: world.setting.fault.name().to_owned(),
            spells: std::iter::once(first).chain(second).collect(),
            good: at(&counts.refused),
            bad: at(&counts.used),
        },
        Lane {
            name: "turned away".to_owned(),
            spells: Vec::new(),
            good: Vec::new(),
            bad: at(&counts.turned_away),
        },
    ]
}

pub(super) fn rules() -> Vec<Rule<History>> {
    let bound = BOUND.as_secs();
    let past = format!("lets no key in more than {bound} s after it was revoked");
    let lies = "never says that what it knows is younger than it is";
    vec![
        none_of(BACKSTAY, PAST, &past),
        none_of(CACHED, PAST, &past),
        none_of(BACKSTAY, LIES, lies),
        none_of(CACHED, LIES, lies),
        none_of(NO_BOUND, LIES, lies),
        hears(),
        is_back(BACKSTAY),
        is_back(CACHED),
        must_show(ARTICLE, PAST, "lets revoked keys in past that"),
        never_ends(),
        must_show(NO_BOUND, PAST, "lets revoked keys in past that"),
        must_show(NONE, AWAY, "turns away whose keys are good"),
        must_show(BACKSTAY, USED, "lets a revoked key in for a while"),
        must_show(BACKSTAY, DISK, "begins with what the process before it had"),
        tried(),
        all_doors(CUTS, "every door is cut off", 1),
        all_doors(
            RESTARTS,
            "a door of each arm is started again",
            Fault::ALL.len() as u64,
        ),
    ]
}

/// A change is told at once; at the latest the next question brings it.
fn hears() -> Rule<History> {
    let heartbeat = HEARTBEAT.as_secs_f64();
    promise(
        format!(
            "{BACKSTAY} hears of a revocation within a heartbeat of {heartbeat} s while all is well"
        ),
        move |run: &History| {
            let longest = run.number(BACKSTAY, EARLY.name)?;
            found(longest <= heartbeat, format!("{longest:.2} s"))
        },
    )
}

fn is_back(arm: &'static str) -> Rule<History> {
    promise(
        format!("{arm} is right about all keys {BACK_WITHIN_S} s after the link is whole again"),
        move |run: &History| {
            let back = run.number(arm, BACK.name);
            let told = back.map_or_else(|| "never".to_owned(), |back| format!("{back:.1} s"));
            found(back.is_some_and(|back| back <= BACK_WITHIN_S), told)
        },
    )
}

fn never_ends() -> Rule<History> {
    validity(
        format!("{ARTICLE} lets a revoked key in each time until the link is whole again"),
        |run: &History| {
            let refused = run.witness(REFUSED)?;
            let longest = run.number(ARTICLE, LATE.name)?;
            let told = format!("for {longest:.1} s; refused {refused} times");
            found(refused == 0, told)
        },
    )
}

fn tried() -> Rule<History> {
    let text = format!(
        "revoked keys are shown {TRIED_AT_LEAST} times at least past the bound at each door that is cut off"
    );
    validity(text, |run: &History| {
        let tried = run.witness(TRIED)?;
        found(tried >= TRIED_AT_LEAST, format!("{tried}"))
    })
}

/// One in so many doors.
fn all_doors(witness: &'static str, what: &str, one_in: u64) -> Rule<History> {
    validity(what.to_owned(), move |run: &History| {
        let (count, all) = (run.witness(witness)?, run.witness(DOORS)? / one_in);
        found(count == all && all > 0, format!("{count} of {all}"))
    })
}

pub(super) fn headline(run: &History) -> String {
    let told = |arm: &str, column: Column| told(run, arm, column);
    let of = |arm: &str| {
        format!(
            "a revoked key is used for {} s; {} of {} good ones turned away",
            told(arm, LATE),
            told(arm, AWAY),
            told(arm, GOOD),
        )
    };
    format!(
        "None: {}. Article: {}. Backstay: {}. Lies about the age: {}.",
        of(NONE),
        of(ARTICLE),
        of(BACKSTAY),
        told(BACKSTAY, LIES)
    )
}

#[cfg(test)]
mod tests;
