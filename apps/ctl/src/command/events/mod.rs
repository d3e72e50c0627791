//! Consumers of events.

mod dead;
mod decide;
mod lag;
mod tail;

use super::To;
use crate::cli::EventsCommand;

pub(super) async fn run(to: &To, command: &EventsCommand) -> anyhow::Result<()> {
    match command {
        EventsCommand::Lag => lag::run(to).await,
        EventsCommand::Dead(dead) => dead::run(to, dead).await,
        EventsCommand::Replay(replay) => decide::replay(to, replay).await,
        EventsCommand::SkipEvent(skip) => decide::skip(to, skip).await,
        EventsCommand::Tail(tail) => tail::run(to, tail).await,
    }
}

/// Fails if nothing is known of a consumer, and names those of which something is: a rebuild gives a read side another name.
async fn known(to: &To, consumer: &str) -> anyhow::Result<()> {
    let consumers = to.place.events.consumers().await;
    let consumers = consumers.map_err(|error| to.events_failed(error))?;
    if consumers.iter().any(|one| one.name == consumer) {
        return Ok(());
    }
    let names: Vec<_> = consumers.into_iter().map(|one| one.name).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    let error = anyhow::anyhow!("no consumer is called {consumer:?}; there are: {names}");
    Err(to.events_failed(error))
}

/// The place, without the group, which events have not.
impl To {
    fn events_failed(&self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        error.into().context(self.place.name())
    }
}
