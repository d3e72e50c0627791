//! The rows and what was set out for, for people.

use std::io::{self, Write};

use super::{End, Row, TTL};
use crate::target::{self, Bound, Target};

/// From a kill to the next write: the time to live, and a second.
const KILLED_MS: f64 = 1e3 + TTL.as_millis() as f64;
const HANDED_OVER_MS: f64 = 150.0;

pub(super) fn print(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    writeln!(
        out,
        "{:10} {:12} {:>6} {:>9} {:>9} {:>6}",
        "home", "leader", "times", "p50 ms", "p99 ms", "stale"
    )?;
    for row in rows {
        let end = match row.end {
            End::Killed => "is killed",
            End::Stopped => "is stopped",
            End::HandsOver => "hands over",
        };
        writeln!(
            out,
            "{:10} {end:12} {:>6} {:>9.0} {:>9.0} {:>6}",
            row.home, row.times, row.p50_ms, row.p99_ms, row.stale_writes
        )?;
    }
    writeln!(
        out,
        "\nms from a leader's end to the next leader's first accepted write; leases last {TTL:?}"
    )?;
    target::print(out, &targets(rows))
}

fn targets(rows: &[Row]) -> Vec<Target> {
    let p99 = |row: &Row| {
        let (what, most) = match row.end {
            End::Killed => ("kill to the next write", KILLED_MS),
            End::Stopped => ("stop to the next write", KILLED_MS),
            End::HandsOver => ("hand-over", HANDED_OVER_MS),
        };
        Target {
            claim: format!("{}: {what}, p99 ms", row.home),
            bound: Bound::AtMost(most),
            measured: Some(row.p99_ms),
        }
    };
    let stale = |row: &Row| Target {
        claim: format!("{}: stale writes accepted", row.home),
        bound: Bound::AtMost(0.0),
        measured: Some(row.stale_writes as f64),
    };
    rows.iter().flat_map(|row| [p99(row), stale(row)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(end: End, p99_ms: f64, stale_writes: u64) -> Row {
        Row {
            home: "sqlite",
            end,
            times: 50,
            p50_ms: 1.0,
            p99_ms,
            stale_writes,
        }
    }

    /// Each kind of end has its bound, and no stale write is ever right.
    #[test]
    fn targets_are_judged_by_their_rows() {
        let verdicts =
            |rows: &[Row]| -> Vec<_> { targets(rows).iter().map(Target::verdict).collect() };
        let good = [row(End::Killed, 4_000.0, 0), row(End::HandsOver, 150.0, 0)];
        assert_eq!(verdicts(&good), ["met"; 4]);
        let bad = [row(End::Killed, 4_001.0, 1), row(End::HandsOver, 151.0, 1)];
        assert_eq!(verdicts(&bad), ["missed"; 4]);
    }
}
