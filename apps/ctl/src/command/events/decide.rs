use backstay_cqrs::DecideError;
use backstay_store::Position;
use serde::Serialize;

use super::{To, known};
use crate::cli::{Reason, Replay, SkipEvent};
use crate::output::{Format, document, say};

/// For scripts.
#[derive(Serialize)]
struct Document<'a> {
    consumer: &'a str,
    key: &'a str,
    decided: &'static str,
    position: Option<u64>,
    who: &'a str,
}

pub(super) async fn replay(to: &To, replay: &Replay) -> anyhow::Result<()> {
    let Replay {
        consumer,
        key,
        reason,
    } = replay;
    let events = &to.place.events;
    let decided = events
        .replay(consumer, key, reason.who(), reason.why())
        .await;
    accepted(to, consumer, decided).await?;
    told(to, consumer, key, "replay", None, reason)
}

pub(super) async fn skip(to: &To, skip: &SkipEvent) -> anyhow::Result<()> {
    let SkipEvent {
        consumer,
        key,
        position,
        reason,
    } = skip;
    let events = &to.place.events;
    let at = Position::new(*position);
    let decided = events
        .skip(consumer, key, at, reason.who(), reason.why())
        .await;
    accepted(to, consumer, decided).await?;
    told(to, consumer, key, "skip", Some(*position), reason)
}

async fn accepted(to: &To, consumer: &str, decided: Result<(), DecideError>) -> anyhow::Result<()> {
    if let Err(DecideError::NotFound { .. }) = &decided {
        known(to, consumer).await?;
    }
    decided.map_err(|error| to.events_failed(error))
}

fn told(
    to: &To,
    consumer: &str,
    key: &str,
    decided: &'static str,
    position: Option<u64>,
    reason: &Reason,
) -> anyhow::Result<()> {
    match to.format {
        Format::Json => document(&Document {
            consumer,
            key,
            decided,
            position,
            who: reason.who(),
        }),
        Format::People => {
            let what = match position {
                Some(position) => format!("the event at {position} is left out"),
                None => "all is tried again".to_owned(),
            };
            let told = format!("consumer {consumer}, {key:?}: {what} when its node looks");
            Ok(say(&told)?)
        }
    }
}
