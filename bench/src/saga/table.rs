//! The table that a run prints.

use std::io::{self, Write};

use super::row::{Row, find};
use super::targets::targets;
use crate::cli::Part;
use crate::target;

/// Prints the rows, what was left out, and the targets.
pub(crate) fn print(out: &mut impl Write, rows: &[Row], without: &[Part]) -> io::Result<()> {
    let names = rows.iter().map(|row| row.subject.name().len());
    let width = names.fold("subject".len(), usize::max);
    writeln!(
        out,
        "{:8}  {:width$}  {:10}  at once  steps/s  spread  by commits  by ours   p50 ms   p99 ms",
        "group", "subject", "durability"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:8}  {:width$}  {:10}  {:7}  {:7.0}  {:>5.0}%  {:>10}  {:>7}  {:>7}  {:>7}",
            row.group.name(),
            row.subject.name(),
            row.durability.name(),
            row.at_once,
            row.rate,
            row.spread * 100.0,
            by_commits(rows, row),
            by_ours(rows, row),
            millis(row.p50),
            millis(row.p99),
        )?;
    }
    for part in without {
        writeln!(out, "{}  skipped by request", part.name())?;
    }
    writeln!(out, "{FOOT}")?;
    target::print(out, &targets(rows))
}

const FOOT: &str = "
A saga has three steps that do nothing, one after the other. As one ends, the next is started. p50, p99: from its start
until it is known to have ended; nothing where none ended in time. Rows of commits: commits/s, and the time of one.
Each value is the median of the rounds. spread: half the distance between the quartiles of steps/s.
by commits, by ours: steps/s by the store's commits/s, and by those of backstay-saga: the median of the rounds' ratios.
durability: WAL NORMAL may lose the last commits when the power fails, memory loses everything.";

fn millis(micros: Option<f64>) -> String {
    micros.map_or_else(|| "-".to_owned(), |micros| format!("{:.3}", micros / 1e3))
}

/// Of our engine by what its store commits.
fn by_commits(rows: &[Row], row: &Row) -> String {
    let base = find(rows, row.group.store(), row.at_once);
    let is_ours = row.subject == row.group.ours();
    shown(base.filter(|_| is_ours).and_then(|base| row.rate_by(base)))
}

/// Of a peer by ours.
fn by_ours(rows: &[Row], row: &Row) -> String {
    let base = find(rows, row.group.ours(), row.at_once);
    let is_peer = row.subject.is_peer();
    shown(base.filter(|_| is_peer).and_then(|base| row.rate_by(base)))
}

fn shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"))
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::super::subject::Subject;
    use super::*;

    /// Ours stands beside the store's commits, peers beside ours; what is left out is named.
    #[test]
    fn rows_stand_beside_what_they_are_measured_by() {
        let mut slow = row(Subject::DuroxideFull, 64, 50.0, 0.0);
        (slow.p50, slow.p99) = (None, None);
        let rows = [
            row(Subject::SqliteStore, 64, 10_000.0, 6_000.0),
            row(Subject::Sqlite, 64, 5_000.0, 40_000.0),
            slow,
            row(Subject::Steno, 64, 20_000.0, 10_000.0),
        ];
        let mut out = Vec::new();
        print(&mut out, &rows, &[Part::Postgres]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().take(6).collect();
        assert_eq!(
            lines,
            [
                "group     subject                     durability  at once  steps/s  spread  by commits  by ours   p50 ms   p99 ms",
                "sqlite    commits: backstay-store     fsync            64    10000      0%                         6.000   12.000",
                "sqlite    backstay-saga               fsync            64     5000      0%       0.500            40.000   80.000",
                "sqlite    duroxide, synchronous=FULL  fsync            64       50      0%                0.010        -        -",
                "sqlite    steno, InMemorySecStore     memory           64    20000      0%                4.000   10.000   20.000",
                "postgres  skipped by request",
            ],
        );
    }
}
