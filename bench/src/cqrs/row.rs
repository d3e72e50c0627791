//! What was measured, and the table that a run prints.

use std::io::{self, Write};

use serde::Serialize;

use super::work::Work;
use crate::cli::Part;
use crate::stats::median;
use crate::target::{self, Bound, Target};

/// One piece of work. The value is the median over the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) work: Work,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// Half the distance between the quartiles, as a share of the value.
    #[serde(skip)]
    pub(crate) spread: f64,
    #[serde(skip)]
    pub(crate) rounds: Vec<f64>,
}

/// A command is a commit, and a read of its thing.
const BY_COMMIT: f64 = 1.5;
const MEMORY: f64 = 100_000.0;
const SQLITE: f64 = 20_000.0;

impl Row {
    pub(crate) fn new(work: Work, rounds: Vec<f64>) -> Self {
        let (value, spread) = median(&mut rounds.clone());
        Self {
            work,
            value,
            unit: work.unit(),
            spread,
            rounds,
        }
    }
}

fn find(rows: &[Row], work: Work) -> Option<&Row> {
    rows.iter().find(|row| row.work == work)
}

/// The median of what the rounds say, in each of which both took their turn.
fn ratio(rows: &[Row], work: Work, by: Work) -> Option<f64> {
    let pairs = find(rows, work)?.rounds.iter().zip(&find(rows, by)?.rounds);
    let mut ratios: Vec<f64> = pairs.map(|(work, by)| work / by).collect();
    (!ratios.is_empty()).then(|| median(&mut ratios).0)
}

fn targets(rows: &[Row]) -> Vec<Target> {
    let at_least = |claim: &str, work, bound| Target {
        claim: claim.to_owned(),
        bound: Bound::AtLeast(bound),
        measured: find(rows, work).map(|row| row.value),
    };
    vec![
        Target {
            claim: "p50 of a command by that of a commit of rusqlite, each alone".to_owned(),
            bound: Bound::AtMost(BY_COMMIT),
            measured: ratio(rows, Work::Command, Work::Commit),
        },
        at_least(
            "events/s into memory, from the start of the log",
            Work::IntoMemory,
            MEMORY,
        ),
        at_least(
            "events/s into SQLite, from the start of the log",
            Work::IntoSqlite,
            SQLITE,
        ),
    ]
}

pub(crate) fn print(out: &mut impl Write, rows: &[Row], without: &[Part]) -> io::Result<()> {
    let width = rows.iter().map(|row| row.work.name().len()).max();
    let width = width.unwrap_or_default();
    writeln!(out, "{:width$}       value  unit      spread", "work")?;
    for row in rows {
        let (name, spread) = (row.work.name(), row.spread * 100.0);
        let (value, unit) = (row.value, row.unit);
        writeln!(out, "{name:width$}  {value:10.1}  {unit:8}  {spread:>5.0}%")?;
    }
    for part in without {
        writeln!(out, "{}  skipped by request", part.name())?;
    }
    for (what, work, by) in [
        (
            "of cqrs-es in the time of a command alone, on Postgres",
            Work::PostgresCommand,
            Work::PeerCommand,
        ),
        (
            "of cqrs-es in commands at once, on Postgres",
            Work::PostgresCommands,
            Work::PeerCommands,
        ),
        (
            "of what is published by hand",
            Work::Relayed,
            Work::Published,
        ),
    ] {
        if let Some(ratio) = ratio(rows, work, by) {
            writeln!(out, "{ratio:.2} {what}")?;
        }
    }
    writeln!(out, "{FOOT}")?;
    target::print(out, &targets(rows))
}

const FOOT: &str = "
On SQLite files with synchronous=FULL where nothing else is said; Postgres and NATS with their defaults. Each value is the median of the rounds; spread: half the distance between their
quartiles. A command decides on a thing with one event, on Postgres on a new thing. shown: from a command's answer until its read model shows it.";

#[cfg(test)]
mod tests {
    use super::*;

    /// Each target is judged by its own rows, a ratio by those of one round.
    #[test]
    fn targets_are_judged_by_their_rows() {
        let rows = [
            Row::new(Work::Commit, vec![100.0, 200.0, 1_000.0]),
            Row::new(Work::Command, vec![140.0, 280.0, 9_000.0]),
            Row::new(Work::IntoMemory, vec![150_000.0]),
        ];
        let verdicts: Vec<_> = targets(&rows).iter().map(Target::verdict).collect();
        assert_eq!(verdicts, ["met", "met", "not measured"]);
        let measured = targets(&rows)[0].measured;
        assert_eq!(measured, Some(1.4));
    }
}
