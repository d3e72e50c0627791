//! The command line. Every mistake is answered with one line that names the choices.

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::styling::Styles;
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::arms::{self, Arm};
use crate::experiment::crash::plan::Size;
use crate::saga::order::Process;
use crate::{keys, leader, replies, saga, torn};

/// What the user asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Overload(Overload),
    Healthy(Healthy),
    PausedLeader(Seeded),
    LostReplies(Seeded),
    Crash(Swept),
    TornPublish(Swept),
    Revoked(Seeded),
    List,
    /// A process that an experiment has started.
    Part(Part),
}

/// Why nothing runs.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// Help or version: printed, and all is well.
    Shown(String),
    /// One line that says what is wrong and what is right.
    Mistake(String),
}

#[derive(Debug, Parser)]
#[command(
    name = "lab",
    version,
    about = "Same load, same fault, with and without Backstay",
    after_help = "Without a command: lab run overload\n\nExit status: 0 PASS, 1 FAIL, 2 INVALID, 64 a command line that can't be read, \
                  74 a report that can't be written, 70 anything else",
    disable_help_subcommand = true,
    styles = Styles::plain()
)]
struct Line {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run an experiment
    Run {
        #[command(subcommand)]
        experiment: Experiment,
    },
    /// List experiments and arms
    List,
    /// A process that an experiment starts
    #[command(hide = true)]
    Part {
        #[command(subcommand)]
        part: Part,
    },
}

/// Processes that experiments start.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Part {
    /// Lends leases
    Coordination {
        /// Where it keeps them
        folder: PathBuf,
    },
    /// Keeps what leaders write
    Resource {
        /// Where it keeps that
        folder: PathBuf,
    },
    /// Wants to lead
    Candidate {
        #[arg(value_parser = leader_arm)]
        arm: leader::Arm,
        node: u8,
        coordination: SocketAddr,
        resource: SocketAddr,
    },
    /// Takes orders
    Orders {
        #[arg(value_parser = replies_arm)]
        arm: replies::Arm,
        /// Where it keeps them
        folder: PathBuf,
    },
    /// Places orders with the shop and the bank
    Orchestrator {
        #[arg(value_parser = saga_arm)]
        arm: saga::Arm,
        /// Where it keeps its log
        folder: PathBuf,
        /// The lab
        gate: SocketAddr,
    },
    /// Is the shop or the bank
    Participant {
        #[arg(value_parser = saga_arm)]
        arm: saga::Arm,
        #[arg(value_parser = participant)]
        service: Process,
        /// Where it keeps its books
        folder: PathBuf,
        /// The lab
        gate: SocketAddr,
    },
    /// Takes orders that another process shows
    Writer {
        #[arg(value_parser = torn_arm)]
        arm: torn::Arm,
        /// Where it keeps them
        folder: PathBuf,
        /// The lab
        gate: SocketAddr,
    },
    /// Shows orders that another process takes
    Reader {
        #[arg(value_parser = torn_arm)]
        arm: torn::Arm,
        /// Where it keeps them
        folder: PathBuf,
        /// The lab
        gate: SocketAddr,
    },
    /// Gives keys and revokes them
    Authority {
        /// Where it keeps them
        folder: PathBuf,
    },
    /// Lets in whoever has a key
    Door {
        #[arg(value_parser = keys_arm)]
        arm: keys::Arm,
        /// Where it keeps its copy of them
        folder: PathBuf,
        authority: SocketAddr,
    },
}

#[derive(Debug, Subcommand)]
enum Experiment {
    /// Capacity falls for 10 s: who keeps what is left, who comes back
    Overload(Overload),
    /// Nothing is wrong: what protection costs
    Healthy(Healthy),
    /// A leader is stopped, cut off, and its clock set: who writes all the same
    PausedLeader(Seeded),
    /// 5 % of the replies are lost and the servers are killed: what is done twice
    LostReplies(Seeded),
    /// Processes are killed at every step of an order: what is left half done
    Crash(Swept),
    /// A writer and a reader are killed at every step between them: what the reader never shows
    TornPublish(Swept),
    /// A key is revoked while its source can't be reached: how long it is let in
    Revoked(Seeded),
}

/// Settings of `overload`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Overload {
    /// default, all, or names with commas between
    #[arg(long, default_value = "default", value_parser = arm_list)]
    pub(crate) arms: ArmList,
    /// Capacity during the fault, as a share
    #[arg(long, default_value = "0.5", value_parser = factor, allow_negative_numbers = true)]
    pub(crate) factor: f64,
    /// How long to watch after the fault
    #[arg(long, default_value = "50", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) seconds: u64,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Settings of `healthy`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Healthy {
    /// How long each arm runs
    #[arg(long, default_value = "20", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) seconds: u64,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Settings of experiments without a load of their own to set.
#[derive(Args, Clone, Debug)]
pub(crate) struct Seeded {
    /// Same seed, same moments
    #[arg(long, default_value = "1", value_parser = seed, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Folder for the reports
    #[arg(long, default_value = "target/lab")]
    pub(crate) out: PathBuf,
}

/// Settings of experiments that sweep the places at which processes are killed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Swept {
    /// all crash points, or a few for a quick look
    #[arg(long, default_value = "all", value_parser = points)]
    pub(crate) points: Size,
    #[command(flatten)]
    pub(crate) seeded: Seeded,
}

/// Settings that every experiment under load has.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// Same seed, same schedule
    #[arg(long, default_value = "1", value_parser = seed, allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Offered load, as a share of the measured capacity
    #[arg(long, default_value = "0.75", value_parser = load, allow_negative_numbers = true)]
    pub(crate) load: f64,
    /// Folder for the reports
    #[arg(long, default_value = "target/lab")]
    pub(crate) out: PathBuf,
    /// Serve backstay's metrics as Prometheus text at this loopback address, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub(crate) metrics: Option<SocketAddr>,
}

/// The chosen arms. A type of its own, because clap takes a bare list as a repeated flag.
#[derive(Clone, Debug)]
pub(crate) struct ArmList(pub(crate) Vec<&'static Arm>);

/// Reads a command line, the program's name included.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Command, Refusal> {
    let mut line: Vec<OsString> = line.into_iter().collect();
    if line.len() <= 1 {
        line = ["lab", "run", "overload"].map(OsString::from).to_vec();
    }
    let parsed = Line::try_parse_from(&line).map_err(|error| refusal(&error, &Place::of(&line)))?;
    match parsed.verb {
        Some(Verb::List) => Ok(Command::List),
        Some(Verb::Run {
            experiment: Experiment::Overload(settings),
        }) => Ok(Command::Overload(settings)),
        Some(Verb::Run {
            experiment: Experiment::Healthy(settings),
        }) => Ok(Command::Healthy(settings)),
        Some(Verb::Run {
            experiment: Experiment::PausedLeader(settings),
        }) => Ok(Command::PausedLeader(settings)),
        Some(Verb::Run {
            experiment: Experiment::LostReplies(settings),
        }) => Ok(Command::LostReplies(settings)),
        Some(Verb::Run {
            experiment: Experiment::Crash(settings),
        }) => Ok(Command::Crash(settings)),
        Some(Verb::Run {
            experiment: Experiment::TornPublish(settings),
        }) => Ok(Command::TornPublish(settings)),
        Some(Verb::Run {
            experiment: Experiment::Revoked(settings),
        }) => Ok(Command::Revoked(settings)),
        Some(Verb::Part { part }) => Ok(Command::Part(part)),
        None => Err(Refusal::Mistake("choose the command: run, list".to_owned())),
    }
}

fn refusal(error: &clap::Error, place: &Place) -> Refusal {
    let told = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (kind, choices) = (place.kind(), place.choices());
    Refusal::Mistake(match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return Refusal::Shown(error.to_string().trim_end().to_owned());
        }
        ErrorKind::InvalidSubcommand => {
            let word = told(ContextKind::InvalidSubcommand);
            format!("unknown {kind} `{word}`; choose from: {choices}")
        }
        ErrorKind::UnknownArgument => {
            let word = told(ContextKind::InvalidArg);
            if choices.is_empty() {
                format!("unknown {kind} `{word}`; there is none to choose")
            } else {
                format!("unknown {kind} `{word}`; choose from: {choices}")
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            format!("choose the {kind}: {choices}")
        }
        ErrorKind::ValueValidation => {
            let flag = told(ContextKind::InvalidArg);
            let flag = flag.split_whitespace().next().unwrap_or_default();
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            format!("{flag}: {reason}")
        }
        // A flag without its value, or given twice: the first line says it all.
        _ => {
            let text = error.to_string();
            text.lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned()
        }
    })
}

/// How far the command line was understood, and so what could have followed.
struct Place(clap::Command);

impl Place {
    fn of(line: &[OsString]) -> Self {
        let mut here = Line::command();
        for word in line.iter().skip(1) {
            let Some(next) = here.find_subcommand(word) else {
                break;
            };
            here = next.clone();
        }
        Self(here)
    }

    fn kind(&self) -> &'static str {
        match self.0.get_name() {
            "lab" => "command",
            "run" => "experiment",
            _ => "flag",
        }
    }

    fn choices(&self) -> String {
        let commands = self
            .0
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| command.get_name().to_owned());
        let flags = self.0.get_arguments().filter_map(|flag| flag.get_long());
        let names: Vec<String> = if self.0.has_subcommands() {
            commands.collect()
        } else {
            flags.map(|flag| format!("--{flag}")).collect()
        };
        names.join(", ")
    }
}

fn arm_list(text: &str) -> Result<ArmList, String> {
    arms::select(text).map(ArmList)
}

fn leader_arm(name: &str) -> Result<leader::Arm, String> {
    leader::find(name).ok_or_else(|| format!("unknown arm `{name}`"))
}

fn replies_arm(name: &str) -> Result<replies::Arm, String> {
    replies::find(name).ok_or_else(|| format!("unknown arm `{name}`"))
}

fn saga_arm(name: &str) -> Result<saga::Arm, String> {
    saga::find(name).ok_or_else(|| format!("unknown arm `{name}`"))
}

fn torn_arm(name: &str) -> Result<torn::Arm, String> {
    torn::find(name).ok_or_else(|| format!("unknown arm `{name}`"))
}

fn keys_arm(name: &str) -> Result<keys::Arm, String> {
    keys::find(name).ok_or_else(|| format!("unknown arm `{name}`"))
}

fn participant(name: &str) -> Result<Process, String> {
    Process::find(name).ok_or_else(|| format!("unknown service `{name}`"))
}

fn points(text: &str) -> Result<Size, String> {
    Size::find(text).ok_or_else(|| format!("`{text}` is neither all nor few"))
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let right = |address: &SocketAddr| address.ip().is_loopback();
    text.parse().ok().filter(right).ok_or_else(|| {
        format!("`{text}` is not a loopback address with a port, such as 127.0.0.1:9464")
    })
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a whole number from 0 to {}", u64::MAX))
}

fn load(text: &str) -> Result<f64, String> {
    let right = |load: &f64| (0.01..=2.0).contains(load);
    text.parse()
        .ok()
        .filter(right)
        .ok_or_else(|| format!("`{text}` is not a number from 0.01 to 2"))
}

fn factor(text: &str) -> Result<f64, String> {
    let right = |factor: &f64| (0.01..=0.99).contains(factor);
    text.parse()
        .ok()
        .filter(right)
        .ok_or_else(|| format!("`{text}` is not a number from 0.01 to 0.99"))
}

fn seconds(text: &str) -> Result<u64, String> {
    let right = |seconds: &u64| (1..=600).contains(seconds);
    text.parse()
        .ok()
        .filter(right)
        .ok_or_else(|| format!("`{text}` is not a whole number of seconds from 1 to 600"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, Refusal> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn mistake(line: &str) -> String {
        match read(line) {
            Err(Refusal::Mistake(text)) => {
                assert!(!text.contains('\n'), "more than one line: {text}");
                text
            }
            other => panic!("`{line}` was taken as {other:?}"),
        }
    }

    #[test]
    fn nothing_means_the_headline_experiment() {
        let Ok(Command::Overload(settings)) = read("lab") else {
            panic!("not overload")
        };
        assert_eq!(settings.seconds, 50);
        assert_eq!(settings.common.seed, 1);
        assert_eq!(
            settings.arms.0.len(),
            arms::select("default").unwrap().len()
        );
    }

    #[test]
    fn flags_reach_their_settings() {
        let line = "lab run overload --arms none --seed 7 --load 0.5 --factor 0.3 --seconds 9";
        let Ok(Command::Overload(settings)) = read(line) else {
            panic!("not overload")
        };
        assert_eq!((settings.seconds, settings.common.seed), (9, 7));
        assert_eq!((settings.factor, settings.common.load), (0.3, 0.5));
        assert!(matches!(read("lab list"), Ok(Command::List)));
        assert!(matches!(
            read("lab run healthy --seed 2"),
            Ok(Command::Healthy(_))
        ));
        let Ok(Command::Crash(settings)) = read("lab run crash --points few --seed 3") else {
            panic!("not crash")
        };
        assert_eq!((settings.points, settings.seeded.seed), (Size::Few, 3));
        let Ok(Command::TornPublish(settings)) = read("lab run torn-publish") else {
            panic!("not torn-publish")
        };
        assert_eq!((settings.points, settings.seeded.seed), (Size::All, 1));
        assert!(matches!(read("lab run revoked"), Ok(Command::Revoked(_))));
    }

    #[test]
    fn a_mistake_is_answered_with_the_choices() {
        let cases = [
            ("lab go", "unknown command `go`; choose from: run, list"),
            (
                "lab run",
                "choose the experiment: overload, healthy, paused-leader, lost-replies, crash, torn-publish, revoked",
            ),
            (
                "lab run nothing",
                "unknown experiment `nothing`; choose from: overload, healthy, paused-leader, lost-replies, crash, torn-publish, revoked",
            ),
            (
                "lab list all",
                "unknown flag `all`; there is none to choose",
            ),
            (
                "lab run healthy --factor 0.5",
                "unknown flag `--factor`; choose from: --seconds, --seed, --load, --out, --metrics",
            ),
        ];
        for (line, answer) in cases {
            assert_eq!(mistake(line), answer);
        }
        assert!(mistake("lab run overload --arms some").starts_with("--arms: unknown arm `some`"));
        assert_eq!(
            mistake("lab run crash --points some"),
            "--points: `some` is neither all nor few"
        );
        assert!(mistake("lab run overload --seed").contains("--seed"));
        assert!(mistake("lab run overload --seed 1 --seed 2").contains("--seed"));
    }

    #[test]
    fn bad_numbers_are_refused_with_their_range() {
        for value in ["0", "-1", "1e-300", "2.1", "NaN", "inf", "much", ""] {
            let answer = mistake_of("--load", value);
            assert_eq!(
                answer,
                format!("--load: `{value}` is not a number from 0.01 to 2")
            );
        }
        for value in ["0", "1", "-0.5", "1e-300", "NaN"] {
            assert!(mistake_of("--factor", value).contains("from 0.01 to 0.99"));
        }
        for value in ["0", "601", "99999999999999999999", "1.5"] {
            assert!(mistake_of("--seconds", value).contains("from 1 to 600"));
        }
        assert!(mistake_of("--seed", "-1").contains("whole number"));
        assert!(mistake("lab run overload --load -1").contains("from 0.01 to 2"));
        for value in [
            "0.0.0.0:9464",
            "127.0.0.1",
            "localhost:1",
            "127.0.0.1:99999",
        ] {
            assert!(mistake_of("--metrics", value).contains("not a loopback address"));
        }
    }

    fn mistake_of(flag: &str, value: &str) -> String {
        let line = ["lab", "run", "overload", &format!("{flag}={value}")].map(OsString::from);
        match parse(line) {
            Err(Refusal::Mistake(text)) => text,
            other => panic!("{flag}={value} was taken as {other:?}"),
        }
    }

    #[test]
    fn help_is_not_a_mistake() {
        assert!(matches!(read("lab --help"), Err(Refusal::Shown(_))));
        assert!(matches!(
            read("lab run overload --help"),
            Err(Refusal::Shown(_))
        ));
    }
}
