//! Calibrated batches in interleaved rounds, then the allocations in a pass of their own.

use std::time::Duration;

use alloc_tracker::Session;

use super::row::Row;
use super::subject::{Group, Run};
use crate::stats::median;

/// Threads that share a handle. One, the cores of a small machine, and more than it has.
const THREADS: [usize; 4] = [1, 2, 4, 8];

/// Calls in the shorter of the two counted batches.
const COUNTED_CALLS: u64 = 2_000;

/// How long and how often each row is timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) batch: Duration,
    pub(crate) rounds: usize,
}

impl Effort {
    /// Batches far longer than a scheduler's slice; rounds enough for a steady median.
    pub(crate) const FULL: Self = Self {
        batch: Duration::from_millis(100),
        rounds: 15,
    };

    /// Shows that everything runs. Its numbers are rough.
    pub(crate) const QUICK: Self = Self {
        batch: Duration::from_millis(5),
        rounds: 3,
    };
}

/// What becomes one row.
struct Cell<'a> {
    run: &'a Run,
    threads: usize,
    calls: u64,
    times: Vec<f64>,
}

/// Measures every run, at every number of threads that it may share.
pub(crate) fn measure(runs: &[Run], effort: Effort) -> Vec<Row> {
    let mut cells = cells(runs);
    eprintln!("{} rows: finding how many calls fill a batch", cells.len());
    for cell in &mut cells {
        cell.calls = calibrate(cell.run, cell.threads, effort.batch);
    }
    // A round visits every cell once, so that a drift of the machine hits all alike.
    for round in 1..=effort.rounds {
        eprintln!("round {round} of {}", effort.rounds);
        for cell in &mut cells {
            let time = cell.run.time(cell.calls, cell.threads);
            cell.times.push(per_call(time, cell.calls));
        }
    }
    eprintln!("counting allocations");
    cells.iter_mut().map(row).collect()
}

/// The rows to come, in the order of the table.
fn cells(runs: &[Run]) -> Vec<Cell<'_>> {
    let mut cells = Vec::new();
    for group in Group::ALL {
        for threads in THREADS {
            let runs = runs
                .iter()
                .filter(|run| run.group == group && (threads == 1 || run.shared));
            cells.extend(runs.map(|run| Cell {
                run,
                threads,
                calls: 0,
                times: Vec::new(),
            }));
        }
    }
    cells
}

/// How many calls fill a batch.
fn calibrate(run: &Run, threads: usize, batch: Duration) -> u64 {
    let mut calls = 1_000;
    // Ends by time. Twelve steps of four are room for a call of a picosecond.
    for _ in 0..12 {
        let time = run.time(calls, threads);
        if time >= batch / 8 {
            let scaled = u128::from(calls) * batch.as_nanos() / time.as_nanos();
            return u64::try_from(scaled).unwrap_or(calls).max(1);
        }
        calls *= 4;
    }
    calls
}

fn row(cell: &mut Cell<'_>) -> Row {
    let (ns, spread) = median(&mut cell.times);
    Row {
        subject: cell.run.subject,
        group: cell.run.group.name(),
        threads: cell.threads,
        ns,
        allocs: allocations(cell.run),
        spread,
    }
}

fn per_call(time: Duration, calls: u64) -> f64 {
    time.as_nanos() as f64 / calls as f64
}

/// Allocations of one call: what a batch three times as long has more.
///
/// The difference leaves out what the runtime, the handle and the warm-up allocate.
fn allocations(run: &Run) -> f64 {
    let short = counted(run, COUNTED_CALLS);
    let long = counted(run, 3 * COUNTED_CALLS);
    long.saturating_sub(short) as f64 / (2 * COUNTED_CALLS) as f64
}

fn counted(run: &Run, calls: u64) -> u64 {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("batch");
    let span = operation.measure_thread().iterations(1);
    run.time(calls, 1);
    drop(span);
    let report = session.to_report();
    report
        .operations()
        .map(|(_, operation)| operation.total_allocations_count())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::subject;
    use super::*;

    /// Rows come group by group, and only breaker and stack go beyond one thread.
    #[test]
    fn rows_are_in_the_order_of_the_groups() {
        let runs = subject::all();
        let rows = cells(&runs);
        let mut groups: Vec<_> = rows.iter().map(|cell| cell.run.group).collect();
        groups.dedup();
        assert_eq!(groups, Group::ALL);
        for cell in rows.iter().filter(|cell| cell.threads > 1) {
            let group = cell.run.group;
            assert!(
                [Group::BreakerClosed, Group::Stack].contains(&group),
                "{group}"
            );
        }
    }

    /// Every subject answers its group's question: a call that ends otherwise panics.
    #[test]
    fn every_run_ends_as_its_group_says() {
        for run in subject::all() {
            run.time(10, 1);
            if run.shared {
                run.time(10, 2);
            }
        }
    }
}
