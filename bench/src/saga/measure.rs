//! Interleaved rounds, and what they come to.

use std::time::Duration;

use anyhow::{Context, Result};

use super::load::{Sample, Window};
use super::row::Row;
use super::subject::{Group, Subject};
use crate::store::Ground;

/// How many sagas run at once: one after the other, a busy service, and as many as an engine of ours runs unless told.
pub(crate) const AT_ONCE: [usize; 3] = [1, 64, MANY];
pub(crate) const MANY: usize = 1_000;

/// How long and how often each row is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    window: Window,
    rounds: usize,
}

impl Effort {
    /// Windows in which the slowest ends some sagas; rounds enough for a steady median.
    pub(crate) const FULL: Self = Self {
        window: Window {
            warm_up: Duration::from_millis(500),
            measured: Duration::from_secs(2),
        },
        rounds: 5,
    };

    /// Shows that everything runs. Its numbers are rough.
    pub(crate) const QUICK: Self = Self {
        window: Window {
            warm_up: Duration::from_millis(20),
            measured: Duration::from_millis(200),
        },
        rounds: 1,
    };
}

/// What becomes one row.
struct Cell {
    subject: Subject,
    at_once: usize,
    samples: Vec<Sample>,
}

/// Measures every subject with each number at once.
pub(crate) fn measure(subjects: &[Subject], ground: &Ground, effort: Effort) -> Result<Vec<Row>> {
    let mut cells = cells(subjects);
    // A round visits every cell once, so that a slow phase of the machine hits all alike.
    for round in 1..=effort.rounds {
        eprintln!("round {round} of {}, {} rows", effort.rounds, cells.len());
        for cell in &mut cells {
            let sample = cell.subject.visit(ground, cell.at_once, effort.window);
            cell.samples.push(sample.with_context(|| {
                let (group, name) = (cell.subject.group().name(), cell.subject.name());
                format!("{group}: {name}, {} at once", cell.at_once)
            })?);
        }
    }
    let rows = cells.into_iter();
    Ok(rows
        .map(|cell| Row::new(cell.subject, cell.at_once, cell.samples))
        .collect())
}

/// The rows to come, in the order of the table.
fn cells(subjects: &[Subject]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for group in Group::ALL {
        for at_once in AT_ONCE {
            let subjects = subjects
                .iter()
                .filter(|one| one.group() == group && (at_once == 1 || one.is_shared()));
            cells.extend(subjects.map(|subject| Cell {
                subject: *subject,
                at_once,
                samples: Vec::new(),
            }));
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows come group by group and number by number; single commits have one committer.
    #[test]
    fn rows_are_in_the_order_of_the_groups() {
        let cells = cells(&Subject::ALL);
        let mut order: Vec<_> = cells
            .iter()
            .map(|cell| (cell.subject.group(), cell.at_once))
            .collect();
        order.dedup();
        let expected: Vec<_> = AT_ONCE
            .map(|at_once| (Group::Sqlite, at_once))
            .into_iter()
            .chain(AT_ONCE.map(|at_once| (Group::Postgres, at_once)))
            .collect();
        assert_eq!(order, expected);
        let alone = cells
            .iter()
            .filter(|cell| cell.subject == Subject::SqliteAlone);
        assert_eq!(alone.map(|cell| cell.at_once).collect::<Vec<_>>(), [1]);
    }
}
