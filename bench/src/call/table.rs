//! The table that a run prints.

use std::io::{self, Write};

use super::row::{Row, throughput};
use super::targets::targets;
use crate::target;

/// Prints the rows, what sharing brought, and the targets.
pub(crate) fn print(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let names = rows.iter().map(|row| row.subject.len());
    let width = names.fold("subject".len(), usize::max);
    writeln!(
        out,
        "{:19}  {:width$}  threads   ns/call  spread  allocs/call",
        "group", "subject"
    )?;
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        for row in group {
            writeln!(
                out,
                "{:19}  {:width$}  {:7}  {:8.1}  {:>5.0}%  {:11.2}",
                row.group,
                row.subject,
                row.threads,
                row.ns,
                row.spread * 100.0,
                row.allocs,
            )?;
        }
        for base in group.iter().filter(|row| row.threads == 1) {
            print_throughput(out, group, base, width)?;
        }
    }
    writeln!(out, "{FOOT}")?;
    target::print(out, &targets(rows))
}

const FOOT: &str = "
ns/call: median over the rounds of a batch's wall time by all its calls, the loop included.
On several threads, which share one handle, calls a second are 1e9 by it.
spread: half the distance between the quartiles.
No call waits, so no timer is ever started: each timeout is built and dropped.
Counting adds 1 to 2 ns to a call for each of its allocations.";

/// One line for what a subject's threads bring together.
fn print_throughput(
    out: &mut impl Write,
    group: &[Row],
    base: &Row,
    width: usize,
) -> io::Result<()> {
    let ratios: Vec<_> = group
        .iter()
        .filter(|row| row.subject == base.subject && row.threads > 1)
        .map(|row| format!("{:.2} on {}", throughput(row, base), row.threads))
        .collect();
    if ratios.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "{:19}  {:width$}  throughput by that of 1 thread: {}",
        base.group,
        base.subject,
        ratios.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &'static str, threads: usize, ns: f64) -> Row {
        Row {
            subject,
            group: "breaker closed",
            threads,
            ns,
            allocs: 0.0,
            spread: 0.02,
        }
    }

    /// A group's rows come first, then a line for each subject that threads shared.
    #[test]
    fn throughput_follows_its_group() {
        let rows = [
            row("one", 1, 30.0),
            row("other", 1, 40.0),
            row("one", 2, 20.0),
        ];
        let mut out = Vec::new();
        print(&mut out, &rows).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().take(6).collect();
        assert_eq!(
            lines,
            [
                "group                subject  threads   ns/call  spread  allocs/call",
                "breaker closed       one            1      30.0      2%         0.00",
                "breaker closed       other          1      40.0      2%         0.00",
                "breaker closed       one            2      20.0      2%         0.00",
                "breaker closed       one      throughput by that of 1 thread: 1.50 on 2",
                "",
            ],
        );
    }
}
