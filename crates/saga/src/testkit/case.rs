use std::fmt;
use std::str::FromStr;

/// What goes wrong in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Case {
    /// Another worker is there from the start.
    pub(super) two_workers: bool,
    pub(super) faults: Vec<Fault>,
}

/// What goes wrong at one commit of the instance's, or at one call: they are numbered from 1 on, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The worker is killed before the commit.
    KillBefore,
    /// The worker is killed after the commit, before it hears of it.
    KillAfter,
    /// The worker is stopped before the commit, replaced, and goes on when all is over.
    StopBefore,
    /// The worker is stopped after the commit, replaced, and goes on when all is over.
    StopAfter,
    /// The commit happens, and its reply is lost.
    LostCommit,
    /// The store is away from this commit on, for less time than a worker holds its instances.
    AwayBefore,
    /// The same after the commit, whose reply is lost.
    AwayAfter,
    /// The store is away for so long that the worker loses its instances.
    GoneBefore,
    /// The same after the commit, whose reply is lost.
    GoneAfter,
    /// The person acts before the commit, which the worker has decided on without knowing.
    Person,
    /// The call does not arrive, and nobody knows.
    Lost,
    /// The call is done, and its reply is lost.
    LostReply,
    /// The call is made twice.
    Twice,
    /// The call arrives when all is over.
    Late,
    /// The call is made, and its worker killed.
    KillIn,
    /// The call has no effect and says so; an undo says that it will never work.
    Refused,
    /// The code panics.
    Panic,
}

/// An engine that is broken on purpose.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Records of a worker that was replaced are taken.
    NoFence,
    /// That a step is about to run is written with its result.
    IntentLast,
    /// A step that may have happened is taken for one that has not.
    UnknownIsNothing,
    /// An undo that is cut off is taken for done.
    UndoCancelled,
}

const AT_COMMITS: [(&str, Kind); 10] = [
    ("kill-before", Kind::KillBefore),
    ("kill-after", Kind::KillAfter),
    ("stop-before", Kind::StopBefore),
    ("stop-after", Kind::StopAfter),
    ("lost-commit", Kind::LostCommit),
    ("away-before", Kind::AwayBefore),
    ("away-after", Kind::AwayAfter),
    ("gone-before", Kind::GoneBefore),
    ("gone-after", Kind::GoneAfter),
    ("person", Kind::Person),
];

const AT_CALLS: [(&str, Kind); 7] = [
    ("lost", Kind::Lost),
    ("lost-reply", Kind::LostReply),
    ("twice", Kind::Twice),
    ("late", Kind::Late),
    ("kill-in", Kind::KillIn),
    ("refused", Kind::Refused),
    ("panic", Kind::Panic),
];

const TWO_WORKERS: &str = "two-workers";

impl Kind {
    pub(super) fn at(self, at: usize) -> Fault {
        Fault { kind: self, at }
    }

    /// Whether it ends the worker, or seems to.
    pub(super) fn strikes(self) -> bool {
        use Kind::{KillAfter, KillBefore, KillIn, StopAfter, StopBefore};
        matches!(
            self,
            KillBefore | KillAfter | KillIn | StopBefore | StopAfter
        )
    }

    /// Whether what follows it is worth to be broken too.
    pub(super) fn is_recovered(self) -> bool {
        use Kind::{KillAfter, KillBefore, KillIn, Lost, LostReply, Person};
        matches!(
            self,
            KillBefore | KillAfter | KillIn | Lost | LostReply | Person
        )
    }

    fn name(self) -> &'static str {
        let mut all = AT_COMMITS.iter().chain(&AT_CALLS);
        all.find(|(_, kind)| *kind == self)
            .map_or("", |(name, _)| name)
    }
}

impl Fault {
    /// All that can happen in a run of so many commits and calls.
    pub(super) fn all(commits: usize, calls: usize) -> impl Iterator<Item = Self> {
        let at = |kinds: &'static [(&str, Kind)], most: usize| {
            let each = move |kind: Kind| (1..=most).map(move |at| kind.at(at));
            kinds.iter().flat_map(move |(_, kind)| each(*kind))
        };
        at(&AT_COMMITS, commits).chain(at(&AT_CALLS, calls))
    }
}

impl Case {
    #[must_use]
    pub(super) fn and(&self, fault: Fault) -> Self {
        let mut both = self.clone();
        both.faults.push(fault);
        both
    }

    /// What happens at a commit.
    pub(super) fn at_commit(&self, number: usize) -> Vec<Kind> {
        self.at(&AT_COMMITS, number).collect()
    }

    /// What happens at a call.
    pub(super) fn at_call(&self, number: usize) -> Option<Kind> {
        self.at(&AT_CALLS, number).next()
    }

    fn at(&self, kinds: &'static [(&str, Kind)], number: usize) -> impl Iterator<Item = Kind> {
        let faults = self.faults.iter().filter(move |fault| fault.at == number);
        let is_one = |kind: &Kind| kinds.iter().any(|(_, known)| known == kind);
        faults.map(|fault| fault.kind).filter(is_one)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let two = self.two_workers.then(|| TWO_WORKERS.to_owned());
        let faults = self.faults.iter();
        let faults = faults.map(|fault| format!("{}={}", fault.kind.name(), fault.at));
        let parts: Vec<_> = two.into_iter().chain(faults).collect();
        if parts.is_empty() {
            return f.write_str("plain");
        }
        f.write_str(&parts.join(" "))
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut case = Self::default();
        for part in text.split_whitespace().filter(|part| *part != "plain") {
            if part == TWO_WORKERS {
                case.two_workers = true;
                continue;
            }
            let wrong = || format!("{part:?} is no fault; one is `kill-before=3`");
            let (name, at) = part.split_once('=').ok_or_else(wrong)?;
            let mut all = AT_COMMITS.iter().chain(&AT_CALLS);
            let found = all.find(|(known, _)| *known == name);
            let (_, kind) = found.ok_or_else(wrong)?;
            case.faults.push(kind.at(at.parse().map_err(|_| wrong())?));
        }
        Ok(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SAG-11: what a failure prints can be run.
    #[test]
    fn a_case_is_read_as_it_is_shown() {
        for two_workers in [false, true] {
            let plain = Case {
                two_workers,
                faults: Vec::new(),
            };
            assert_eq!(plain.to_string().parse(), Ok(plain.clone()));
            for first in Fault::all(3, 3) {
                let case = plain.and(first);
                assert_eq!(case.to_string().parse(), Ok(case.clone()));
                let case = case.and(Kind::KillBefore.at(5));
                assert_eq!(case.to_string().parse(), Ok(case));
            }
        }
        let error = "kill=x".parse::<Case>().unwrap_err();
        assert_eq!(error, "\"kill=x\" is no fault; one is `kill-before=3`");
    }
}
