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
    about = "One protected call, side by side with the peers",
    after_help = "On several threads, ns is the batch's wall time by all its calls: calls a \
                  second are 1e9 by it.\nA missed target does not fail the command.",
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

    /// Where the rows go [default: target/bench/call.json of the workspace; call-partial.json
    /// with --quick or --filter]
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

impl Cli {
    /// Where the rows go. What is not the whole measurement does not take its place.
    pub(crate) fn json(&self) -> PathBuf {
        let whole = !self.quick && self.filter.is_none();
        let file = if whole {
            "call.json"
        } else {
            "call-partial.json"
        };
        let bench = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");
        self.json
            .clone()
            .unwrap_or_else(|| PathBuf::from(bench).join(file))
    }
}

/// The benches there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// A call that succeeds at once, through each policy and a stack of them
    Call,
}

/// Why nothing is measured.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// Help or version: printed, and all is well.
    Shown(String),
    /// One line that says what is wrong and what is right.
    Mistake(String),
}

pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Refusal> {
    Cli::try_parse_from(args).map_err(|error| {
        if error.use_stderr() {
            Refusal::Mistake(one_line(&error))
        } else {
            Refusal::Shown(error.to_string())
        }
    })
}

/// What clap says before its first empty line, then all that may be written.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let what: Vec<_> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    format!(
        "{}; the choices are: call [--quick] [--filter TEXT] [--json PATH]",
        what.join(" ")
    )
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

    /// A wrong bench, flag or value is one line that names the choices.
    #[test]
    fn a_mistake_is_one_line_with_the_choices() {
        let wrong: [&[&str]; 5] = [
            &[],
            &["store"],
            &["call", "--fast"],
            &["call", "--json"],
            &["call", "stack"],
        ];
        for args in wrong {
            let Err(Refusal::Mistake(line)) = parsed(args) else {
                panic!("{args:?} was taken");
            };
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.starts_with("error: "), "{line}");
            assert!(
                line.ends_with("call [--quick] [--filter TEXT] [--json PATH]"),
                "{line}"
            );
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
