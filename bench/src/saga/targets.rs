//! What the engine set out to reach, judged by the rows.

use super::measure::MANY;
use super::row::{Row, find};
use super::subject::Subject;
use crate::target::{Bound, Target};

/// Steps a second that are enough, whatever the store could do.
const ENOUGH: f64 = 20_000.0;

/// Else a step costs as much as two commits of the store at most.
const OF_COMMITS: f64 = 0.5;

/// A saga of three steps takes four commits one after the other. One and a half times that is what it may take.
const LONE_P50: f64 = 6.0;

/// By an engine that makes as durable what it does.
const BY_DUROXIDE: f64 = 20.0;

/// Every target, or none when we are not among the subjects. Postgres has none.
pub(crate) fn targets(rows: &[Row]) -> Vec<Target> {
    if !rows.iter().any(|row| row.subject == Subject::Sqlite) {
        return Vec::new();
    }
    let many = find(rows, Subject::Sqlite, MANY);
    let commits = find(rows, Subject::SqliteStore, MANY);
    let enough = commits.map_or(ENOUGH, |commits| ENOUGH.min(OF_COMMITS * commits.rate));
    let lone = find(rows, Subject::Sqlite, 1);
    let alone = find(rows, Subject::SqliteAlone, 1);
    let duroxide = find(rows, Subject::DuroxideFull, MANY);
    vec![
        Target {
            claim: format!(
                "sqlite, {MANY} at once: steps/s, of {ENOUGH:.0} or {OF_COMMITS} of the store's commits/s"
            ),
            bound: Bound::AtLeast(enough),
            measured: commits.and_then(|_| Some(many?.rate)),
        },
        Target {
            claim: "sqlite, 1 at once: p50 of a saga by that of a commit of rusqlite, each alone"
                .to_owned(),
            bound: Bound::AtMost(LONE_P50),
            measured: lone
                .zip(alone)
                .and_then(|(lone, alone)| lone.by(alone, |sample| sample.p50)),
        },
        Target {
            claim: format!(
                "sqlite, {MANY} at once: steps/s by those of duroxide, synchronous=FULL"
            ),
            bound: Bound::AtLeast(BY_DUROXIDE),
            measured: many
                .zip(duroxide)
                .and_then(|(many, duroxide)| many.rate_by(duroxide)),
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
            row(Subject::Sqlite, 1, 2_000.0, 1_300.0),
            row(Subject::SqliteStore, MANY, 30_000.0, 9_000.0),
            row(Subject::Sqlite, MANY, 16_000.0, 900.0),
            row(Subject::DuroxideFull, MANY, 100.0, 1_000.0),
        ]
    }

    /// Each target is judged by its own rows; no store has to be faster than what is enough.
    #[test]
    fn targets_are_judged_by_their_rows() {
        let judged = targets(&rows());
        let measured: Vec<_> = judged.iter().map(|target| target.measured).collect();
        assert_eq!(measured, [Some(16_000.0), Some(6.5), Some(160.0)]);
        let verdicts: Vec<_> = judged.iter().map(Target::verdict).collect();
        assert_eq!(verdicts, ["met", "missed", "met"]);
        assert_eq!(judged[0].bound, Bound::AtLeast(15_000.0));
        let mut fast = rows();
        fast[2] = row(Subject::SqliteStore, MANY, 90_000.0, 9_000.0);
        assert_eq!(targets(&fast)[0].bound, Bound::AtLeast(20_000.0));
    }

    /// Without us there is nothing to judge, and a filtered run says what it did not measure.
    #[test]
    fn a_missing_row_is_not_a_miss() {
        let mut rows = rows();
        rows.truncate(4);
        let verdicts =
            |rows: &[Row]| -> Vec<_> { targets(rows).iter().map(Target::verdict).collect() };
        assert_eq!(verdicts(&rows), ["met", "missed", "not measured"]);
        rows.remove(2);
        assert_eq!(verdicts(&rows)[0], "not measured");
        rows.retain(|row| row.subject != Subject::Sqlite);
        assert_eq!(targets(&rows), []);
    }
}
