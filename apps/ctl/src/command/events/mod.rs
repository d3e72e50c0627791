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

/// The place, without the group, which events have not.
impl To {
    fn events_failed(&self, error: impl Into<anyhow::Error>) -> anyhow::Error {
        error.into().context(self.place.name())
    }
}
