use std::fmt;
use std::str::FromStr;

/// What goes wrong in one run: numbers count from 1 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Case {
    /// This call is refused.
    pub(super) fails: Option<usize>,
    pub(super) fault: Option<Fault>,
}

/// A fault and where it happens: at a commit of the instance's, or at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The worker is killed before the commit.
    KillBefore(usize),
    /// The worker is killed after the commit, before it hears of it.
    KillAfter(usize),
    /// The worker is stopped before the commit, replaced, and goes on when all is over.
    StopBefore(usize),
    /// The worker is stopped after the commit, replaced, and goes on when all is over.
    StopAfter(usize),
    /// The commit happens, and its reply is lost.
    LostCommit(usize),
    /// The call does not arrive, and nobody knows.
    Lost(usize),
    /// The call is done, and its reply is lost.
    LostReply(usize),
    /// The call is made twice.
    Twice(usize),
    /// The call arrives when all is over.
    Late(usize),
    /// The call is made, and its worker killed.
    KillIn(usize),
    /// The call has no effect and says so; an undo says that it will never work.
    Refused(usize),
    /// The code panics.
    Panic(usize),
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

type Make = fn(usize) -> Fault;

const AT_COMMITS: [(&str, Make); 5] = [
    ("kill-before", Fault::KillBefore),
    ("kill-after", Fault::KillAfter),
    ("stop-before", Fault::StopBefore),
    ("stop-after", Fault::StopAfter),
    ("lost-commit", Fault::LostCommit),
];

const AT_CALLS: [(&str, Make); 7] = [
    ("lost", Fault::Lost),
    ("lost-reply", Fault::LostReply),
    ("twice", Fault::Twice),
    ("late", Fault::Late),
    ("kill-in", Fault::KillIn),
    ("refused", Fault::Refused),
    ("panic", Fault::Panic),
];

impl Fault {
    /// All that can happen in a run of so many commits and calls.
    pub(super) fn all(commits: usize, calls: usize) -> impl Iterator<Item = Self> {
        let at = |faults: &'static [(&str, Make)], most: usize| {
            faults
                .iter()
                .flat_map(move |(_, make)| (1..=most).map(make))
        };
        at(&AT_COMMITS, commits).chain(at(&AT_CALLS, calls))
    }

    fn parts(self) -> (&'static str, usize) {
        match self {
            Self::KillBefore(at) => ("kill-before", at),
            Self::KillAfter(at) => ("kill-after", at),
            Self::StopBefore(at) => ("stop-before", at),
            Self::StopAfter(at) => ("stop-after", at),
            Self::LostCommit(at) => ("lost-commit", at),
            Self::Lost(at) => ("lost", at),
            Self::LostReply(at) => ("lost-reply", at),
            Self::Twice(at) => ("twice", at),
            Self::Late(at) => ("late", at),
            Self::KillIn(at) => ("kill-in", at),
            Self::Refused(at) => ("refused", at),
            Self::Panic(at) => ("panic", at),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fails = self.fails.map(|call| format!("fails={call}"));
        let fault = self.fault.map(|fault| {
            let (name, at) = fault.parts();
            format!("{name}={at}")
        });
        let parts: Vec<_> = fails.into_iter().chain(fault).collect();
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
            let wrong = || format!("{part:?} is no fault; one is `kill-before=3`");
            let (name, at) = part.split_once('=').ok_or_else(wrong)?;
            let at = at.parse().map_err(|_| wrong())?;
            if name == "fails" {
                case.fails = Some(at);
                continue;
            }
            let all = AT_COMMITS.iter().chain(&AT_CALLS);
            let (_, make) = all
                .into_iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(wrong)?;
            case.fault = Some(make(at));
        }
        Ok(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a failure prints can be run.
    #[test]
    fn a_case_is_read_as_it_is_shown() {
        for fault in Fault::all(3, 3).map(Some).chain([None]) {
            for fails in [None, Some(2)] {
                let case = Case { fails, fault };
                assert_eq!(case.to_string().parse(), Ok(case));
            }
        }
        let error = "kill=x".parse::<Case>().unwrap_err();
        assert_eq!(error, "\"kill=x\" is no fault; one is `kill-before=3`");
    }
}
