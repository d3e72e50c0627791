//! The final table.

use std::fmt::Write;

use crate::arms::ONE_BY_ONE;

use super::{ArmReport, Measured, Page, Report, Results};

const COLUMNS: [&str; 11] = [
    "arm", "before", "during", "after", "back", "load x", "wasted", "lost", "p50", "p99", "p99.9",
];

/// Rules, numbers and verdict, for the terminal.
pub(crate) fn render<M: Results>(report: &Report<M>) -> String {
    let (line, table) = report.measured.table();
    let mut text = format!("{} (seed {}): {line}\n", report.experiment, report.seed);
    if report.partial {
        text.push_str("partial: the run ended before its time\n");
    }
    let _ = writeln!(text, "\n{table}");
    for check in &report.checks {
        let _ = writeln!(text, "{}", check.line());
    }
    let _ = write!(text, "\n{}\n{}", report.headline, report.verdict);
    for reason in &report.reasons {
        let _ = write!(text, "\n  {reason}");
    }
    text
}

impl Results for Measured {
    const PAGE: Page = Page {
        body: include_str!("page/load.html"),
        script: include_str!("page/load.js"),
    };

    fn table(&self) -> (String, String) {
        let left = self.capacity_left_per_s;
        let line = format!(
            "{}/s offered, capacity {}/s{}; generator lag p99 {} ms",
            number(self.offered_per_s, 0),
            number(self.capacity_per_s, 0),
            left.map_or_else(String::new, |left| format!(
                ", {left:.0}/s left during the fault"
            )),
            number(self.generator_lag_p99_ms, 1),
        );
        let mut rows = vec![COLUMNS.map(str::to_owned).to_vec()];
        rows.extend(self.arms.iter().map(|arm| cells(arm, self).to_vec()));
        let mut text = align(&rows);
        for arm in &self.arms {
            if let Some(cpu) = arm.cpu_us_per_call {
                let _ = writeln!(
                    text,
                    "{}: {cpu:.0} us of processor time a call, {} openings, {} sheds",
                    arm.name,
                    arm.openings
                        .map_or_else(|| "-".to_owned(), |count| count.to_string()),
                    arm.sheds
                        .map_or_else(|| "-".to_owned(), |count| count.to_string()),
                );
            }
        }
        text.push_str(
            "\nbefore, during and after the fault: calls answered within the deadline, a second.\n\
             back: from the end of the fault to the first 5 s at 95 % of offered.\n\
             load x: attempts that reached the server, for each call.\n\
             wasted: services begun whose caller had left before the end.\n\
             p50 .. p99.9: ms, of all offered calls; \"lost\" where it falls on a call without an \
             answer.\n",
        );
        if self.arms.iter().any(|arm| ONE_BY_ONE.contains(&arm.name)) {
            let _ = writeln!(
                text,
                "{}: the breaker holds its mutex across the call, so calls go one by one, 50 a second at most; \
                 at more load the queue grows until no answer is in time (docs/breaker.md).",
                ONE_BY_ONE.join(", ")
            );
        }
        (line, text)
    }
}

/// Names to the left, numbers to the right, each column as wide as it must be; the first row names the columns.
pub(super) fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(text, "{cell:<width$}")
            } else {
                write!(text, "  {cell:>width$}")
            };
        }
        text.push('\n');
    }
    text
}

fn cells(arm: &ArmReport, measured: &Measured) -> [String; COLUMNS.len()] {
    let recovery = match measured.fault {
        Some(_) => measured.back(arm.recovery_s),
        None => "-".to_owned(),
    };
    let quantile = |value: Option<f64>| {
        value.map_or_else(|| "lost".to_owned(), |millis| format!("{millis:.0}"))
    };
    [
        arm.name.to_owned(),
        number(arm.goodput.before, 0),
        number(arm.goodput.during, 0),
        number(arm.goodput.after, 0),
        recovery,
        format!("{:.2}", arm.amplification),
        arm.wasted.to_string(),
        arm.lost.to_string(),
        quantile(arm.p50_ms),
        quantile(arm.p99_ms),
        quantile(arm.p999_ms),
    ]
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}
