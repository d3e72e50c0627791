//! One file a command, and what they share.

mod act;
mod events;
mod export;
mod graph;
mod list;
mod show;
mod signal;
mod watch;

use anyhow::{Error, anyhow};
use backstay_saga::{ActError, ShowError, Shown};

use crate::cli::{Command, Instance, Line, Verb};
use crate::output::Format;
use crate::place::Place;

pub(crate) async fn run(line: &Line) -> anyhow::Result<()> {
    let store = line.common.store().map_err(|_| anyhow!("no store"))?;
    let to = To {
        place: Place::open(store, &line.common.group).await?,
        format: line.common.format(),
    };
    let command = match &line.verb {
        Verb::Saga { command } => command,
        Verb::Events { command } => return events::run(&to, command).await,
    };
    match command {
        Command::List(list) => list::run(&to, list).await,
        Command::Show(instance) => show::run(&to, instance).await,
        Command::Retry(decision) => act::retry(&to, decision).await,
        Command::Undo(decision) => act::undo(&to, decision).await,
        Command::Abandon(decision) => act::abandon(&to, decision).await,
        Command::Skip(skip) => act::skip(&to, skip).await,
        Command::Signal(signal) => signal::run(&to, signal).await,
        Command::Export(instance) => export::run(&to, instance).await,
        Command::Watch(watch) => watch::run(&to, watch).await,
        Command::Graph(graph) => graph::run(&to, graph).await,
    }
}

/// Where the instances are, and for whom the output is.
struct To {
    place: Place,
    format: Format,
}

impl To {
    async fn shown(&self, instance: &Instance) -> anyhow::Result<Shown> {
        let Instance { saga, id } = instance;
        let shown = self.place.operator.show(saga, id).await;
        shown.map_err(|error| self.unshown(instance, error))
    }

    /// The place, the instance where the error does not name it, and the error.
    fn unshown(&self, instance: &Instance, error: ShowError) -> Error {
        match error {
            ShowError::NotFound { .. } => self.failed(error),
            ShowError::Illegal(_) => {
                let export = format!("{instance}; `export` prints it as it is");
                Error::new(error)
                    .context(export)
                    .context(self.place.to_string())
            }
            _ => self.failed_at(instance, error),
        }
    }

    fn undecided(&self, instance: &Instance, error: ActError) -> Error {
        match error {
            ActError::Show(error) => self.unshown(instance, error),
            ActError::Refused { .. } => self.failed(error),
            _ => self.failed_at(instance, error),
        }
    }

    fn failed(&self, error: impl Into<Error>) -> Error {
        error.into().context(self.place.to_string())
    }

    fn failed_at(&self, instance: &Instance, error: impl Into<Error>) -> Error {
        self.failed(error.into().context(instance.to_string()))
    }
}

impl std::fmt::Display for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "saga {} {:?}", self.saga, self.id)
    }
}
