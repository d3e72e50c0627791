//! The command line. Every mistake is answered with one line that names the choices.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::Styles;
use clap::{Parser, ValueEnum};

/// What to measure and where to keep it.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    version,
    about = "One protected call, one commit, one saga, one command, one failover, or one read of a copy, side by side with others that do the same",
    after_help = "call: on several threads, ns is the batch's wall time by all its calls: calls a \
                  second are 1e9 by it.\nstore, saga, cqrs and failover: need a Postgres server, cqrs \
                  one of NATS too, which `cargo xtask bench` starts; saga and cqrs: need their peers, which it builds.\nA missed target does not fail the command.",
    styles = Styles::plain()
)]
pub(crate) struct Cli {
    /// What to measure
    pub(crate) bench: Bench,

    /// A few seconds: shows that everything runs, its numbers are rough
    #[arg(long)]
    pub(crate) quick: bool,

    /// Only subjects and groups whose name has this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,

    /// Where the rows go [default: in target/bench of the workspace, call.json for example;
    /// call-partial.json with --quick, --filter or --without]
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,

    /// store, saga, cqrs, failover: a folder on a disk for its files [default: target/bench of the workspace]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,

    /// store, saga, cqrs, failover: leave a server's rows out; saga, cqrs: those of peers. May be said more than once
    #[arg(long, value_name = "PART")]
    pub(crate) without: Vec<Part>,
}

/// Where results and files go unless told.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");

impl Cli {
    /// Where the rows go. What is not the whole measurement does not take its place.
    pub(crate) fn json(&self) -> PathBuf {
        let whole = !self.quick && self.filter.is_none() && self.without.is_empty();
        let file = match (self.bench, whole) {
            (Bench::Call, true) => "call.json",
            (Bench::Call, false) => "call-partial.json",
            (Bench::Store, true) => "store.json",
            (Bench::Store, false) => "store-partial.json",
            (Bench::Saga, true) => "saga.json",
            (Bench::Saga, false) => "saga-partial.json",
            (Bench::Cqrs, true) => "cqrs.json",
            (Bench::Cqrs, false) => "cqrs-partial.json",
            (Bench::Failover, true) => "failover.json",
            (Bench::Failover, false) => "failover-partial.json",
            (Bench::Replica, true) => "replica.json",
            (Bench::Replica, false) => "replica-partial.json",
        };
        let json = self.json.clone();
        json.unwrap_or_else(|| PathBuf::from(FOLDER).join(file))
    }

    /// Whether some rows are left out.
    pub(crate) fn is_without(&self, part: Part) -> bool {
        self.without.contains(&part)
    }

    /// Where a store's files go.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| PathBuf::from(FOLDER))
    }
}

/// The benches there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// A call that succeeds at once, through each policy and a stack of them
    Call,
    /// Commits to SQLite and Postgres, beside the same rows written by hand
    Store,
    /// Sagas of three steps, on ours and others' engines
    Saga,
    /// Commands, and how fast read models and messages follow
    Cqrs,
    /// From a leader's end to the next leader's first write
    Failover,
    /// A read of a local copy with its age, beside moka and a map behind a lock
    Replica,
}

/// What a bench needs and a machine may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The rows of the group `postgres`
    Postgres,
    /// cqrs: those of messages
    Nats,
    /// saga, cqrs: those of others' engines
    Peers,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Nats => "nats",
            Self::Peers => "peers",
        }
    }
}

/// Why nothing is measured.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// Help or version: printed, and all is well.
    Shown(String),
    /// One line that says what is wrong and what is right.
    Mistake(String),
}

const CHOICES: &str = "the choices are: call and replica [--quick] [--filter TEXT] [--json PATH]; \
                       store, saga, cqrs and failover, which also take [--dir FOLDER] and [--without postgres]; \
                       saga and cqrs also take [--without peers], cqrs [--without nats]";

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Refusal> {
    let cli = Cli::try_parse_from(args).map_err(|error| {
        if error.use_stderr() {
            Refusal::Mistake(one_line(&error))
        } else {
            Refusal::Shown(error.to_string())
        }
    })?;
    let has_none = match cli.bench {
        Bench::Call => Some("call"),
        Bench::Replica => Some("replica"),
        Bench::Store | Bench::Saga | Bench::Cqrs | Bench::Failover => None,
    };
    if let Some(bench) = has_none
        && (cli.dir.is_some() || !cli.without.is_empty())
    {
        let line = format!("error: {bench} has neither files nor servers; {CHOICES}");
        return Err(Refusal::Mistake(line));
    }
    let has_peers = matches!(cli.bench, Bench::Saga | Bench::Cqrs);
    if !has_peers && cli.is_without(Part::Peers) {
        let line = format!("error: only saga and cqrs can leave their peers out; {CHOICES}");
        return Err(Refusal::Mistake(line));
    }
    if cli.bench != Bench::Cqrs && cli.is_without(Part::Nats) {
        let line = format!("error: only cqrs can leave nats out; {CHOICES}");
        return Err(Refusal::Mistake(line));
    }
    Ok(cli)
}

/// What clap says before its first empty line, then all that may be written.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let what: Vec<_> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    format!("{}; {CHOICES}", what.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Cli, Refusal> {
        parse(["bench"].iter().chain(args).map(OsString::from))
    }

    /// The flags arrive; without them a run is full, whole and kept in the workspace.
    #[test]
    fn flags_arrive() {
        let plain = parsed(&["call"]).unwrap();
        assert!(!plain.quick && plain.filter.is_none());
        assert!(plain.json().ends_with("target/bench/call.json"));
        for part in [&["call", "--quick"][..], &["call", "--filter", "stack"]] {
            let json = parsed(part).unwrap().json();
            assert!(json.ends_with("target/bench/call-partial.json"), "{part:?}");
        }
        let all = parsed(&["call", "--quick", "--filter", "stack", "--json", "a.json"]).unwrap();
        assert!(all.quick);
        assert_eq!(all.filter.as_deref(), Some("stack"));
        assert_eq!(all.json(), PathBuf::from("a.json"));
    }

    /// The store's bench takes a folder and may leave its server out, which makes it a part.
    #[test]
    fn flags_of_the_store_arrive() {
        let plain = parsed(&["store"]).unwrap();
        assert_eq!(plain.bench, Bench::Store);
        assert!(plain.json().ends_with("target/bench/store.json"));
        assert!(plain.dir().ends_with("target/bench"));
        let part = parsed(&["store", "--without", "postgres", "--dir", "disk"]).unwrap();
        assert!(part.is_without(Part::Postgres) && !part.is_without(Part::Peers));
        assert_eq!(part.dir(), PathBuf::from("disk"));
        assert!(part.json().ends_with("target/bench/store-partial.json"));
    }

    /// The bench of sagas may leave out its server, its peers, or both.
    #[test]
    fn flags_of_sagas_arrive() {
        let plain = parsed(&["saga"]).unwrap();
        assert_eq!(plain.bench, Bench::Saga);
        assert!(plain.json().ends_with("target/bench/saga.json"));
        let part = parsed(&["saga", "--without", "postgres", "--without=peers"]).unwrap();
        assert_eq!(part.without, [Part::Postgres, Part::Peers]);
        assert!(part.json().ends_with("target/bench/saga-partial.json"));
    }

    /// A wrong bench, flag or value is one line that names the choices.
    #[test]
    fn a_mistake_is_one_line_with_the_choices() {
        let wrong: [&[&str]; 11] = [
            &[],
            &["sagas"],
            &["call", "--fast"],
            &["call", "--json"],
            &["call", "stack"],
            &["call", "--dir", "disk"],
            &["replica", "--without", "postgres"],
            &["call", "--without", "postgres"],
            &["store", "--without", "etcd"],
            &["store", "--without", "peers"],
            &["saga", "--without", "nats"],
        ];
        for args in wrong {
            let Err(Refusal::Mistake(line)) = parsed(args) else {
                panic!("{args:?} was taken");
            };
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.starts_with("error: "), "{line}");
            assert!(line.ends_with(CHOICES), "{line}");
        }
    }

    /// Help is no mistake.
    #[test]
    fn help_is_shown() {
        let Err(Refusal::Shown(text)) = parsed(&["--help"]) else {
            panic!("no help");
        };
        assert!(text.contains("--filter"), "{text}");
    }
}
