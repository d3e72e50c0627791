use serde::Serialize;

use super::{To, known};
use crate::cli::Dead;
use crate::output::{Format, Table, document, say, time};

/// For scripts.
#[derive(Serialize)]
struct Document<'a> {
    consumer: &'a str,
    /// As many there are, 10,000 at most; `events` has the first of them.
    total: usize,
    events: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    key: String,
    position: u64,
    stream: String,
    version: u64,
    kind: String,
    at: String,
    /// Why it was set aside; none if it only came behind another.
    error: Option<String>,
}

pub(super) async fn run(to: &To, dead: &Dead) -> anyhow::Result<()> {
    let found = to.place.events.dead(&dead.consumer).await;
    let found = found.map_err(|error| to.events_failed(error))?;
    let total = found.len();
    let rows = found.into_iter().take(dead.limit).map(|one| Row {
        key: one.key,
        position: one.position.get(),
        stream: one.stream,
        version: one.version.get(),
        kind: one.kind,
        at: time(one.at),
        error: one.error,
    });
    let rows: Vec<Row> = rows.collect();
    if total == 0 {
        known(to, &dead.consumer).await?;
    }
    if to.format == Format::Json {
        return document(&Document {
            consumer: &dead.consumer,
            total,
            events: rows,
        });
    }
    if rows.is_empty() {
        let none = format!("consumer {} has set nothing aside", dead.consumer);
        return Ok(say(&none)?);
    }
    let shown = rows.len();
    let mut table = Table::new(["KEY", "POSITION", "KIND", "WRITTEN", "WHY"]);
    for row in rows {
        let why = row.error.unwrap_or_else(|| "behind another".to_owned());
        table.row([row.key, row.position.to_string(), row.kind, row.at, why]);
    }
    say(&table.text())?;
    if total > shown {
        say(&format!("{shown} first of {total}; --limit shows more"))?;
    }
    Ok(())
}
