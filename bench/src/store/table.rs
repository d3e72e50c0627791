//! The table that a run prints.

use std::io::{self, Write};

use super::row::{Row, find};
use super::subject::{Group, Subject};
use super::targets::targets;
use crate::cli::Part;
use crate::target;

/// Prints the rows, what was left out, and the targets.
pub(crate) fn print(out: &mut impl Write, rows: &[Row], without: &[Part]) -> io::Result<()> {
    let names = rows.iter().map(|row| row.subject.name().len());
    let width = names.fold("subject".len(), usize::max);
    writeln!(
        out,
        "{:8}  {:width$}  committers  commits/s  spread  by alone  by batched   p50 ms   p99 ms",
        "group", "subject"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:8}  {:width$}  {:10}  {:9.0}  {:>5.0}%  {:>8}  {:>10}  {:7.3}  {:7.3}",
            row.group.name(),
            row.subject.name(),
            row.committers,
            row.rate,
            row.spread * 100.0,
            by(rows, row, 0),
            by(rows, row, 1),
            row.p50 / 1e3,
            row.p99 / 1e3,
        )?;
    }
    for part in without {
        writeln!(out, "{}  skipped by request", part.name())?;
    }
    writeln!(out, "{FOOT}")?;
    print_http(out, rows)?;
    print_unsteady(out, rows)?;
    target::print(out, &targets(rows))
}

const FOOT: &str = "
A commit is one event appended to the committer's own stream. Committers wait for one before they make the next.
Each value is the median of the rounds. spread: half the distance between the quartiles of commits/s.
by alone, by batched: commits/s by those of the same rows written by hand right before: the median of the rounds' ratios.";

/// Half the distance between the quartiles, as a share: a disk that only a bench uses stays well below.
const STEADY: f64 = 0.2;

/// Says so where the disk alone was faster and slower from round to round.
fn print_unsteady(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let page = rows.iter().find(|row| row.subject == Subject::Page);
    let Some(page) = page.filter(|row| row.spread > STEADY) else {
        return Ok(());
    };
    let spread = page.spread * 100.0;
    writeln!(
        out,
        "\nThe disk was not steady (spread {spread:.0} %): measure again when nothing else runs."
    )
}

/// What doing it once costs a request: medians by those of a route that commits, and of one that does nothing.
fn print_http(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    for row in rows.iter().filter(|row| row.group == Group::Http) {
        let by = |base| {
            let base = find(rows, base, row.committers)?;
            Some(row.by(base, |sample| sample.p50))
        };
        if let (Some(commits), Some(bare)) = (by(Subject::RouteCommits), by(Subject::Route)) {
            writeln!(
                out,
                "http, {}: p50 of {}: {commits:.2} of a route with one commit, {bare:.2} of a route",
                row.committers,
                row.subject.name(),
            )?;
        }
    }
    Ok(())
}

/// Commits a second by those of the group's first or second way by hand, where there is one.
fn by(rows: &[Row], row: &Row, way: usize) -> String {
    let by_hand = row.group.by_hand();
    let base = by_hand.and_then(|ways| find(rows, ways[way], row.committers));
    base.map_or_else(String::new, |base| {
        format!("{:.2}", row.by(base, |sample| sample.rate))
    })
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    /// Every row stands beside those by hand with as many committers; what is left out is named.
    #[test]
    fn rows_stand_beside_those_by_hand() {
        let rows = [
            row(Subject::Page, 1, 5_000.0, 200.0),
            row(Subject::SqliteAlone, 8, 1_000.0, 900.0),
            row(Subject::Sqlite, 8, 2_500.0, 300.0),
        ];
        let mut out = Vec::new();
        print(&mut out, &rows, &[Part::Postgres]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().take(5).collect();
        assert_eq!(
            lines,
            [
                "group     subject                   committers  commits/s  spread  by alone  by batched   p50 ms   p99 ms",
                "disk      fdatasync of a new 4 KiB           1       5000      2%                          0.200    0.400",
                "sqlite    rusqlite, each alone               8       1000      2%      1.00                0.900    1.800",
                "sqlite    backstay                           8       2500      2%      2.50                0.300    0.600",
                "postgres  skipped by request",
            ],
        );
    }
    /// A run beside others says that it was one.
    #[test]
    fn an_unsteady_disk_is_named() {
        let printed = |spread| {
            let mut page = row(Subject::Page, 1, 5_000.0, 200.0);
            page.spread = spread;
            let mut out = Vec::new();
            print(&mut out, &[page], &[]).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(!printed(0.2).contains("not steady"));
        assert!(printed(0.48).contains("The disk was not steady (spread 48 %)"));
    }
}
