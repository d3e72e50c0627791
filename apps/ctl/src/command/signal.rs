use anyhow::anyhow;
use backstay_saga::{Entry, Json};
use serde::Serialize;

use super::To;
use crate::cli::{Instance, Signal};
use crate::output::{Format, cut, document, say};

/// For scripts.
#[derive(Serialize)]
struct Document<'a> {
    group: &'a str,
    saga: &'a str,
    id: &'a str,
    signal: &'a str,
    /// False if it was sent before, with the same value: then nothing is written.
    sent: bool,
    who: &'a str,
}

pub(super) async fn run(to: &To, signal: &Signal) -> anyhow::Result<()> {
    let Signal {
        instance,
        name,
        value,
        reason,
    } = signal;
    let Instance { saga, id } = instance;
    let operator = &to.place.operator;
    let told = operator.signal(saga, id, name, value, reason.by()?).await;
    let sent = told.map_err(|error| to.undecided(instance, error))?;
    if !sent {
        first_is_same(to, signal).await?;
    }
    match to.format {
        Format::Json => document(&Document {
            group: &to.place.group,
            saga,
            id,
            signal: name,
            sent,
            who: reason.who(),
        }),
        Format::People => {
            let what = if sent { "is sent" } else { "was sent before" };
            Ok(say(&format!("{instance}: signal {name:?} {what}"))?)
        }
    }
}

/// Sent twice is sent once; but the first counts, so another value is none.
async fn first_is_same(to: &To, signal: &Signal) -> anyhow::Result<()> {
    let shown = to.shown(&signal.instance).await?;
    let mut entries = shown.records.iter().flat_map(|record| &record.entries);
    let first = entries.find_map(|entry| match entry {
        Entry::Signal { name, value, .. } if *name == signal.name => Some(value),
        _ => None,
    });
    match first {
        Some(first) if !is_same(first, &signal.value) => {
            let what = format!(
                "signal {:?} was sent before with {}, and the first counts",
                signal.name,
                cut(&format!("{first:?}")),
            );
            Err(to.failed_at(&signal.instance, anyhow!(what)))
        }
        _ => Ok(()),
    }
}

/// However they are written.
fn is_same(one: &Json, other: &Json) -> bool {
    let value = |json: &Json| serde_json::to_value(json).ok();
    one == other || value(one) == value(other)
}
