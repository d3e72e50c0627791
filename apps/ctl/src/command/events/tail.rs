use std::time::Duration;

use backstay_store::{Position, Recorded};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::To;
use crate::cli::Tail;
use crate::output::{Format, cut, document, one_line, say, time};

/// For scripts.
#[derive(Serialize)]
struct Line<'a> {
    position: u64,
    stream: &'a str,
    version: u64,
    kind: &'a str,
    at: String,
    /// None if it is not JSON.
    data: Option<&'a RawValue>,
}

/// Nobody watches for a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3_600);

pub(super) async fn run(to: &To, tail: &Tail) -> anyhow::Result<()> {
    let log = &to.place.log;
    let after = match tail.after {
        Some(after) => Position::new(after),
        None => log.head().await.map_err(|error| to.events_failed(error))?,
    };
    let until = Instant::now() + tail.within.unwrap_or(LONGEST);
    let mut events = log.tail(after);
    loop {
        let page = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(()),
            page = events.next() => page.map_err(|error| to.events_failed(error))?,
            () = sleep_until(until) => return Ok(()),
        };
        for event in &page {
            if event.stream.starts_with(&tail.streams) {
                print(to, event)?;
            }
        }
    }
}

fn print(to: &To, event: &Recorded) -> anyhow::Result<()> {
    let text = std::str::from_utf8(&event.data).ok();
    if to.format == Format::Json {
        return document(&Line {
            position: event.position.get(),
            stream: &event.stream,
            version: event.version.get(),
            kind: &event.kind,
            at: time(event.at),
            data: text.and_then(|text| serde_json::from_str(text).ok()),
        });
    }
    let data = text.map_or_else(|| format!("{} bytes", event.data.len()), cut);
    let (position, at, version) = (event.position, time(event.at), event.version);
    let (stream, kind) = (one_line(&event.stream), one_line(&event.kind));
    Ok(say(&format!(
        "{position}  {at}  {stream}/{version}  {kind}  {data}"
    ))?)
}
