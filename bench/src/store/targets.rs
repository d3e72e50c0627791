//! What the store set out to reach, judged by the rows.

use super::load::Sample;
use super::row::{Row, find};
use super::subject::Subject;
use crate::target::{Bound, Target};

/// Where a group commit has to pay.
const MANY: usize = 64;

/// Our rate by that of the same rows batched by hand, at least.
const OF_BATCHED: f64 = 0.6;

/// Our rate by that of one `fsync` a commit, at least.
const OF_ALONE: f64 = 10.0;

/// A lone committer's p50 by that of a connection it holds itself, at most.
const LONE_P50: f64 = 1.3;

/// Every target, or none when we are not among the subjects. Postgres has none.
pub(crate) fn targets(rows: &[Row]) -> Vec<Target> {
    if !rows.iter().any(|row| row.subject == Subject::Sqlite) {
        return Vec::new();
    }
    let by = |subject, committers, value| {
        let ours = find(rows, Subject::Sqlite, committers)?;
        Some(ours.by(find(rows, subject, committers)?, value))
    };
    let rate = |subject| by(subject, MANY, |sample: &Sample| sample.rate);
    vec![
        Target {
            claim: format!("sqlite, {MANY} committers: rate by that of rusqlite, batched"),
            bound: Bound::AtLeast(OF_BATCHED),
            measured: rate(Subject::SqliteBatched),
        },
        Target {
            claim: format!("sqlite, {MANY} committers: rate by that of rusqlite, each alone"),
            bound: Bound::AtLeast(OF_ALONE),
            measured: rate(Subject::SqliteAlone),
        },
        Target {
            claim: "sqlite, 1 committer: p50 by that of rusqlite, each alone".to_owned(),
            bound: Bound::AtMost(LONE_P50),
            measured: by(Subject::SqliteAlone, 1, |sample| sample.p50),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            row(Subject::SqliteAlone, 1, 1_000.0, 200.0),
            row(Subject::Sqlite, 1, 900.0, 250.0),
            row(Subject::SqliteAlone, MANY, 1_000.0, 9_000.0),
            row(Subject::SqliteBatched, MANY, 20_000.0, 900.0),
            row(Subject::Sqlite, MANY, 11_000.0, 1_000.0),
        ]
    }

    /// Each target is judged by its own rows.
    #[test]
    fn targets_are_judged_by_their_rows() {
        let targets = targets(&rows());
        let measured: Vec<_> = targets.iter().map(|target| target.measured).collect();
        assert_eq!(measured, [Some(0.55), Some(11.0), Some(1.25)]);
        let verdicts: Vec<_> = targets.iter().map(Target::verdict).collect();
        assert_eq!(verdicts, ["missed", "met", "met"]);
    }

    /// Without us there is nothing to judge, and a filtered run says what it did not measure.
    #[test]
    fn a_missing_row_is_not_a_miss() {
        let mut rows = rows();
        rows.remove(3);
        let verdicts: Vec<_> = targets(&rows).iter().map(Target::verdict).collect();
        assert_eq!(verdicts, ["not measured", "met", "met"]);
        rows.retain(|row| row.subject != Subject::Sqlite);
        rows.push(row(Subject::Postgres, MANY, 1.0, 1.0));
        assert_eq!(targets(&rows), []);
    }
}
