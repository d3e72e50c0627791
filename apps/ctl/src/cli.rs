//! The command line. Every mistake is answered with one line that names the choices.

mod refusal;
mod value;

use std::ffi::OsString;
use std::time::Duration;

use backstay_saga::{By, Json, Standing};
use clap::builder::styling::Styles;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output::Format;
use crate::place::Where;

pub(crate) use refusal::Refusal;

/// What the user asked for.
#[derive(Debug, Parser)]
#[command(
    name = "backstay",
    version,
    about = "Sees what sagas and consumers of events do, and decides about them",
    after_help = "Exit status: 0 done, 1 it can't be done, 64 a command line that can't be read",
    disable_help_subcommand = true,
    styles = Styles::plain()
)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What all commands take.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// A SQLite file, or the address of a Postgres server: `postgres://user@host/database`
    #[arg(long, global = true, env = "BACKSTAY_STORE", hide_env_values = true, value_parser = Where::parse)]
    store: Option<Where>,
    /// The schema of a store on a Postgres server, if it is not `backstay`
    #[arg(long, global = true)]
    schema: Option<String>,
    /// The group that the engines have
    #[arg(long, global = true, default_value = "default", value_parser = value::group)]
    pub(crate) group: String,
    /// For scripts: a JSON document; of `watch`, one a line
    #[arg(long, global = true)]
    json: bool,
}

impl Common {
    /// A global flag can't be required, so that is asked here.
    pub(crate) fn store(&self) -> Result<Where, Refusal> {
        let mistake = |what: &str| Refusal::Mistake(what.to_owned());
        match (self.store.clone(), &self.schema) {
            (Some(Where::Server { url, .. }), schema) => Ok(Where::Server {
                url,
                schema: schema.clone(),
            }),
            (Some(Where::File(path)), None) => Ok(Where::File(path)),
            (Some(Where::File(_)), Some(_)) => {
                Err(mistake("--schema: a SQLite file has no schemas"))
            }
            (None, _) => Err(mistake(
                "choose the store: --store <SQLite file | postgres://...>, or BACKSTAY_STORE",
            )),
        }
    }

    pub(crate) fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            Format::People
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Instances of sagas: what they do, and decisions about them
    Saga {
        #[command(subcommand)]
        command: Command,
    },
    /// Events: who follows them and how far, what was set aside, and decisions about that
    Events {
        #[command(subcommand)]
        command: EventsCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List the consumers: read models and relays, how far they are and what they have set aside
    Lag,
    /// List what a consumer has set aside
    Dead(Dead),
    /// Have all that was set aside of a key tried again, in order: what was wrong is mended
    Replay(Replay),
    /// Leave one event out, and have what is behind it tried again
    #[command(name = "skip")]
    SkipEvent(SkipEvent),
    /// Print events as they are written, until Ctrl-C
    Tail(Tail),
}

#[derive(Args, Debug)]
pub(crate) struct Dead {
    /// The consumer's name
    pub(crate) consumer: String,
    /// As many at most
    #[arg(long, default_value = "100", value_parser = value::limit, allow_negative_numbers = true)]
    pub(crate) limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// The consumer's name
    pub(crate) consumer: String,
    /// The key, as `dead` shows it
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

#[derive(Args, Debug)]
pub(crate) struct SkipEvent {
    /// The consumer's name
    pub(crate) consumer: String,
    /// The key, as `dead` shows it
    pub(crate) key: String,
    /// The event's position, as `dead` shows it
    pub(crate) position: u64,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

#[derive(Args, Debug)]
pub(crate) struct Tail {
    /// Only of streams that begin so
    #[arg(long, default_value = "")]
    pub(crate) streams: String,
    /// From after this position on; without it, from now on
    #[arg(long)]
    pub(crate) after: Option<u64>,
    /// As long at most, such as 30s or 5m
    #[arg(long = "for", value_name = "DURATION", value_parser = value::duration, allow_negative_numbers = true)]
    pub(crate) within: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List instances that have not ended, the oldest first
    List(List),
    /// Show an instance: its steps, and what happened
    Show(Instance),
    /// Try again what it is parked for or waits to try, with all attempts
    Retry(Decision),
    /// Undo what it has done, as long as its pivot is not done
    Undo(Decision),
    /// End it as it is: what it has done stays
    Abandon(Decision),
    /// Take a step, or its undo, for done: a person has seen to it
    Skip(Skip),
    /// Send a signal that it waits for
    Signal(Signal),
    /// Print its whole log as JSON
    Export(Instance),
    /// Print what happens, until Ctrl-C or the instance has ended
    Watch(Watch),
    /// Draw its steps
    Graph(Graph),
}

/// One instance.
#[derive(Args, Clone, Debug)]
pub(crate) struct Instance {
    /// The saga's name
    pub(crate) saga: String,
    /// The instance's id
    pub(crate) id: String,
}

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Those that have ended and are remembered, the latest first
    #[arg(long, conflicts_with_all = ["parked", "needs_upgrade", "unreadable"])]
    pub(crate) ended: bool,
    #[command(flatten)]
    only: Only,
    /// As many at most
    #[arg(long, default_value = "100", value_parser = value::limit, allow_negative_numbers = true)]
    pub(crate) limit: usize,
}

/// One of these, or none.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct Only {
    /// Only those that wait for a person
    #[arg(long)]
    parked: bool,
    /// Only those whose graph no worker knows
    #[arg(long)]
    needs_upgrade: bool,
    /// Only those that can't be read
    #[arg(long)]
    unreadable: bool,
}

impl List {
    /// The only standing that is wanted, if there is one.
    pub(crate) fn only(&self) -> Option<Standing> {
        let wanted = [
            (self.only.parked, Standing::Parked),
            (self.only.needs_upgrade, Standing::NeedsUpgrade),
            (self.only.unreadable, Standing::Unreadable),
        ];
        wanted
            .into_iter()
            .find_map(|(is_wanted, one)| is_wanted.then_some(one))
    }
}

/// Who decides and why, for the log.
#[derive(Args, Debug)]
pub(crate) struct Reason {
    /// Who decides
    #[arg(long, env = "USER", value_parser = value::words)]
    who: String,
    /// Why
    #[arg(long, value_parser = value::words)]
    why: String,
}

impl Reason {
    pub(crate) fn by(&self) -> Result<By, backstay_saga::Invalid> {
        By::new(&self.who, &self.why)
    }

    pub(crate) fn who(&self) -> &str {
        &self.who
    }

    pub(crate) fn why(&self) -> &str {
        &self.why
    }
}

#[derive(Args, Debug)]
pub(crate) struct Decision {
    #[command(flatten)]
    pub(crate) instance: Instance,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

#[derive(Args, Debug)]
pub(crate) struct Skip {
    #[command(flatten)]
    pub(crate) instance: Instance,
    /// The step's name
    pub(crate) step: String,
    /// What the step is to have come to
    #[arg(long, value_name = "JSON", value_parser = value::json)]
    pub(crate) output: Option<Json>,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

#[derive(Args, Debug)]
pub(crate) struct Signal {
    #[command(flatten)]
    pub(crate) instance: Instance,
    /// The signal's name
    pub(crate) name: String,
    /// What is sent with it
    #[arg(long, value_name = "JSON", default_value = "null", value_parser = value::json)]
    pub(crate) value: Json,
    #[command(flatten)]
    pub(crate) reason: Reason,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// The saga's name; without it, all
    #[arg(requires = "id")]
    saga: Option<String>,
    /// The instance's id
    id: Option<String>,
    /// As long at most, such as 30s or 5m; an instance that has not ended by then is an error
    #[arg(long = "for", value_name = "DURATION", value_parser = value::duration, allow_negative_numbers = true)]
    pub(crate) within: Option<Duration>,
}

impl Watch {
    /// None if all are watched.
    pub(crate) fn instance(&self) -> Option<Instance> {
        let (saga, id) = (self.saga.clone()?, self.id.clone()?);
        Some(Instance { saga, id })
    }
}

#[derive(Args, Debug)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) instance: Instance,
    /// In which language; with --json it is as it is stored
    #[arg(long, value_enum, default_value = "mermaid", conflicts_with = "json")]
    pub(crate) format: Language,
}

/// How a graph is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Mermaid,
    Dot,
}

/// Reads a command line, the program's name included.
pub(crate) fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Line, Refusal> {
    let words: Vec<OsString> = line.into_iter().collect();
    let line = Line::try_parse_from(&words).map_err(|error| Refusal::of(&error, &words))?;
    line.common.store()?;
    Ok(line)
}

#[cfg(test)]
mod tests;
