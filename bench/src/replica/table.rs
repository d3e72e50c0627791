//! The table that a run prints, and what was to be reached.

use std::io::{self, Write};

use super::measure::Row;
use super::subject::{MAP, MOKA, OURS};
use crate::target::{self, Bound, Target};

/// A hit with its age, in nanoseconds.
const HIT: f64 = 60.0;

pub(crate) fn print(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let width = rows.iter().map(|row| row.subject.len());
    let width = width.fold("subject".len(), usize::max);
    writeln!(
        out,
        "{:width$}  threads  ns/read  spread  by moka  by map",
        "subject"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:width$}  {:7}  {:7.1}  {:>5.0}%  {:>7}  {:>6}",
            row.subject,
            row.threads,
            row.ns,
            row.spread * 100.0,
            ratio(rows, row, MOKA),
            ratio(rows, row, MAP),
        )?;
    }
    writeln!(out, "{FOOT}")?;
    target::print(out, &targets(rows))
}

const FOOT: &str = "
ns/read: median over the rounds of a batch's wall time by all its reads, the loop included.
by moka, by map: the row's time by that of moka with a time to live, and of the map, on as many threads.
Keys are strings, values behind an Arc that each read clones. Only a replica's read says how old it is.";

fn ratio(rows: &[Row], row: &Row, base: &str) -> String {
    let base = find(rows, base, row.threads);
    base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", row.ns / base.ns))
}

fn find<'r>(rows: &'r [Row], subject: &str, threads: usize) -> Option<&'r Row> {
    rows.iter()
        .find(|row| row.subject == subject && row.threads == threads)
}

fn targets(rows: &[Row]) -> Vec<Target> {
    let Some(ours) = find(rows, OURS, 1) else {
        return Vec::new();
    };
    let by_moka = find(rows, MOKA, 1).map(|moka| ours.ns / moka.ns);
    vec![
        Target {
            claim: "replica hit with its age, ns".to_owned(),
            bound: Bound::AtMost(HIT),
            measured: Some(ours.ns),
        },
        Target {
            claim: "replica hit with its age, by a hit of moka with a time to live".to_owned(),
            bound: Bound::AtMost(1.0),
            measured: by_moka,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is set against both others on as many threads.
    #[test]
    fn a_row_has_its_ratios() {
        let row = |subject, ns| Row {
            subject,
            threads: 1,
            ns,
            spread: 0.02,
        };
        let rows = [row(OURS, 50.0), row(MOKA, 100.0), row(MAP, 40.0)];
        let mut out = Vec::new();
        print(&mut out, &rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        let ours = text.lines().nth(1).unwrap();
        assert!(ours.ends_with("50.0      2%     0.50    1.25"), "{ours}");
        assert!(
            text.contains("met           replica hit with its age, ns: 50.00"),
            "{text}"
        );
    }
}
