use anyhow::anyhow;
use backstay_saga::{Graph, Record, ShowError, Start};
use backstay_store::Recorded;
use serde::Serialize;
use serde_json::value::RawValue;

use super::To;
use crate::cli::Instance;
use crate::output::document;

/// Raised when what is in it changes its meaning; fields may be added without.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    group: &'a str,
    saga: &'a str,
    id: &'a str,
    start: Option<Start>,
    graph: Option<&'a Graph>,
    /// Why the log can't be replayed, if it can't.
    unreadable: Option<String>,
    records: Vec<Written<'a>>,
}

/// A record as it is in the store.
#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Json(&'a RawValue),
    /// What is no JSON, as far as it is text.
    Text(String),
}

pub(super) async fn run(to: &To, instance: &Instance) -> anyhow::Result<()> {
    let Instance { saga, id } = instance;
    let operator = &to.place.operator;
    let shown = operator.show(saga, id).await;
    let (graph, unreadable) = match &shown {
        Ok(shown) => (Some(shown.graph.as_ref()), None),
        Err(ShowError::Illegal(illegal)) => (None, Some(illegal.to_string())),
        Err(error) => return Err(to.unshown(instance, error.clone())),
    };
    let events = operator.events(saga, id).await;
    let events = events.map_err(|error| to.failed_at(instance, error))?;
    if events.is_empty() {
        return Err(to.failed_at(instance, anyhow!("its log is empty")));
    }
    document(&Document {
        format: FORMAT,
        group: &to.place.group,
        saga,
        id,
        start: start(&events),
        graph,
        unreadable,
        records: events.iter().map(written).collect(),
    })
}

fn start(events: &[Recorded]) -> Option<Start> {
    let first: Record = serde_json::from_slice(&events.first()?.data).ok()?;
    first.entries.into_iter().find_map(|entry| match entry {
        backstay_saga::Entry::Start(start) => Some(start),
        _ => None,
    })
}

fn written(event: &Recorded) -> Written<'_> {
    match serde_json::from_slice(&event.data) {
        Ok(json) => Written::Json(json),
        Err(_) => Written::Text(String::from_utf8_lossy(&event.data).into_owned()),
    }
}
