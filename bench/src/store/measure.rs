//! Interleaved rounds, and what they come to.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Ground;
use super::load::{Sample, Window};
use super::row::Row;
use super::subject::{Group, Subject};
use crate::stats::median;

/// How many commit at once.
const COMMITTERS: [usize; 4] = [1, 8, 64, 512];

/// How long and how often each row is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    window: Window,
    rounds: usize,
}

impl Effort {
    /// Windows of many commits also where each waits for 512 others; rounds enough for a steady median.
    pub(crate) const FULL: Self = Self {
        window: Window {
            warm_up: Duration::from_millis(300),
            measured: Duration::from_secs(1),
        },
        rounds: 7,
    };

    /// Shows that everything runs. Its numbers are rough.
    pub(crate) const QUICK: Self = Self {
        window: Window {
            warm_up: Duration::from_millis(20),
            measured: Duration::from_millis(100),
        },
        rounds: 1,
    };
}

/// What becomes one row.
struct Cell {
    subject: Subject,
    committers: usize,
    samples: Vec<Sample>,
}

/// Measures every subject with each number of committers.
pub(crate) fn measure(subjects: &[Subject], ground: &Ground, effort: Effort) -> Result<Vec<Row>> {
    let mut cells = cells(subjects);
    // A round visits every cell once, so that a slow phase of the machine hits all alike.
    for round in 1..=effort.rounds {
        eprintln!("round {round} of {}, {} rows", effort.rounds, cells.len());
        for cell in &mut cells {
            let Cell {
                subject,
                committers,
                samples,
            } = cell;
            let sample = subject.visit(ground, *committers, effort.window);
            samples.push(sample.with_context(|| {
                let (group, name) = (subject.group().name(), subject.name());
                format!("{group}: {name}, {committers} at once")
            })?);
        }
    }
    Ok(cells.iter().map(row).collect())
}

/// The rows to come, in the order of the table.
fn cells(subjects: &[Subject]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for group in Group::ALL {
        for committers in COMMITTERS {
            let subjects = subjects
                .iter()
                .filter(|one| one.group() == group && (committers == 1 || one.is_shared()));
            cells.extend(subjects.map(|subject| Cell {
                subject: *subject,
                committers,
                samples: Vec::new(),
            }));
        }
    }
    cells
}

fn row(cell: &Cell) -> Row {
    let median =
        |value: fn(&Sample) -> f64| median(&mut cell.samples.iter().map(value).collect::<Vec<_>>());
    let (rate, spread) = median(|sample| sample.rate);
    Row {
        subject: cell.subject,
        group: cell.subject.group(),
        committers: cell.committers,
        rate,
        p50: median(|sample| sample.p50).0,
        p99: median(|sample| sample.p99).0,
        spread,
        samples: cell.samples.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows come group by group and number by number; a page has one committer.
    #[test]
    fn rows_are_in_the_order_of_the_groups() {
        let rows = cells(&Subject::ALL);
        let mut order: Vec<_> = rows
            .iter()
            .map(|cell| (cell.subject.group(), cell.committers))
            .collect();
        order.dedup();
        let expected: Vec<_> = [(Group::Disk, 1)]
            .into_iter()
            .chain(COMMITTERS.map(|committers| (Group::Sqlite, committers)))
            .chain(COMMITTERS.map(|committers| (Group::Postgres, committers)))
            .chain(COMMITTERS.map(|committers| (Group::Http, committers)))
            .collect();
        assert_eq!(order, expected);
    }

    /// Each value is the median of the rounds, whichever round it is of.
    #[test]
    fn a_row_is_made_of_medians() {
        let sample = |rate, p50, p99| Sample { rate, p50, p99 };
        let row = row(&Cell {
            subject: Subject::Page,
            committers: 1,
            samples: vec![
                sample(10.0, 3.0, 5.0),
                sample(30.0, 1.0, 7.0),
                sample(20.0, 2.0, 9.0),
            ],
        });
        assert_eq!((row.rate, row.p50, row.p99), (20.0, 2.0, 7.0));
    }
}
