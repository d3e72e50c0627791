//! The final table.

use std::fmt::Write;

use super::{ArmReport, Report};

const COLUMNS: [&str; 10] = [
    "before/s", "during/s", "after/s", "recovery", "load x", "wasted", "lost", "p50 ms", "p99 ms",
    "p99.9 ms",
];
const ARM: usize = 24;
const WIDTH: usize = 9;

/// Rules, numbers and verdict, for the terminal.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    let measured = &report.measured;
    let left = measured.capacity_left_per_s;
    let _ = writeln!(
        text,
        "{} (seed {}): {}/s offered, capacity {}/s{}; generator lag p99 {} ms",
        report.experiment,
        report.seed,
        number(measured.offered_per_s, 0),
        number(measured.capacity_per_s, 0),
        left.map_or_else(String::new, |left| format!(
            ", {left:.0}/s left during the fault"
        )),
        number(measured.generator_lag_p99_ms, 1),
    );
    if report.partial {
        text.push_str("partial: the run ended before its time\n");
    }
    let _ = write!(text, "\n{:<ARM$}", "arm");
    for column in COLUMNS {
        let _ = write!(text, " {column:>WIDTH$}");
    }
    text.push('\n');
    for arm in &measured.arms {
        let _ = write!(text, "{:<ARM$}", arm.name);
        for cell in cells(arm, measured.fault.is_some()) {
            let _ = write!(text, " {cell:>WIDTH$}");
        }
        text.push('\n');
    }
    for arm in &measured.arms {
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
        "\nload x: attempts that reached the server, for each call. p50 .. p99.9 are of all \
         offered calls;\n  \"lost\" where the quantile falls on a call without an answer.\n\n",
    );
    for check in &report.checks {
        let _ = writeln!(text, "{}", check.line());
    }
    let _ = write!(text, "\n{}\n{}", report.headline, report.verdict);
    for reason in &report.reasons {
        let _ = write!(text, "\n  {reason}");
    }
    text
}

fn cells(arm: &ArmReport, had_fault: bool) -> [String; 10] {
    let recovery = match arm.recovery_s {
        Some(seconds) => format!("{seconds:.1} s"),
        None if had_fault => "never".to_owned(),
        None => "-".to_owned(),
    };
    let quantile = |value: Option<f64>| {
        value.map_or_else(|| "lost".to_owned(), |millis| format!("{millis:.0}"))
    };
    [
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
