use serde::Serialize;

use super::To;
use crate::output::{Format, Table, document, say, time};

/// For scripts.
#[derive(Serialize)]
struct Document {
    consumers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    consumer: String,
    streams: String,
    position: u64,
    said: String,
    /// How old the oldest event is that it has not taken, in seconds; none if there is none.
    lag_seconds: Option<f64>,
    dead: usize,
}

pub(super) async fn run(to: &To) -> anyhow::Result<()> {
    let consumers = to.place.events.consumers().await;
    let consumers = consumers.map_err(|error| to.events_failed(error))?;
    let rows = consumers.into_iter().map(|one| Row {
        consumer: one.name,
        streams: one.streams,
        position: one.position.get(),
        said: time(one.at),
        lag_seconds: one.lag.map(|lag| lag.as_secs_f64()),
        dead: one.dead,
    });
    let rows: Vec<Row> = rows.collect();
    if to.format == Format::Json {
        return document(&Document { consumers: rows });
    }
    if rows.is_empty() {
        return Ok(say("no consumer has said how far it is")?);
    }
    let mut table = Table::new([
        "CONSUMER",
        "STREAMS",
        "POSITION",
        "LAG",
        "SET ASIDE",
        "SAID",
    ]);
    for row in rows {
        let lag = row.lag_seconds.map(|lag| format!("{lag:.1} s"));
        table.row([
            row.consumer,
            row.streams,
            row.position.to_string(),
            lag.unwrap_or_else(|| "none".to_owned()),
            row.dead.to_string(),
            row.said,
        ]);
    }
    Ok(say(&table.text())?)
}
