//! Calibrated batches in interleaved rounds.

use std::time::Duration;

use serde::Serialize;

use super::subject::Subject;
use crate::stats::median;

const THREADS: [usize; 3] = [1, 2, 4];

/// How long and how often each row is timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    batch: Duration,
    rounds: usize,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        batch: Duration::from_millis(100),
        rounds: 21,
    };

    /// Shows that everything runs. Its numbers are rough.
    pub(crate) const QUICK: Self = Self {
        batch: Duration::from_millis(10),
        rounds: 3,
    };
}

/// One subject on so many threads.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) subject: &'static str,
    pub(crate) threads: usize,
    /// Median over the rounds of a batch's wall time by all its reads.
    pub(crate) ns: f64,
    /// Half the distance between the quartiles of `ns`, as a share of it.
    #[serde(skip)]
    pub(crate) spread: f64,
}

struct Cell<'s> {
    subject: &'s Subject,
    threads: usize,
    reads: u64,
    times: Vec<f64>,
}

pub(crate) fn measure(subjects: &[Subject], effort: Effort) -> Vec<Row> {
    let mut cells: Vec<_> = THREADS
        .into_iter()
        .flat_map(|threads| {
            subjects.iter().map(move |subject| Cell {
                subject,
                threads,
                reads: calibrate(subject, threads, effort.batch),
                times: Vec::new(),
            })
        })
        .collect();
    // A round visits every cell once, so that a drift of the machine hits all alike.
    for round in 1..=effort.rounds {
        eprintln!("round {round} of {}", effort.rounds);
        for cell in &mut cells {
            let time = cell.subject.time(cell.reads, cell.threads);
            cell.times.push(time.as_nanos() as f64 / cell.reads as f64);
        }
    }
    let rows = cells.iter_mut().map(|cell| {
        let (ns, spread) = median(&mut cell.times);
        Row {
            subject: cell.subject.name,
            threads: cell.threads,
            ns,
            spread,
        }
    });
    rows.collect()
}

/// How many reads fill a batch.
fn calibrate(subject: &Subject, threads: usize, batch: Duration) -> u64 {
    let reads = 200_000;
    let time = subject.time(reads, threads).as_nanos().max(1);
    let scaled = u128::from(reads) * batch.as_nanos() / time;
    u64::try_from(scaled).unwrap_or(reads).max(1_000)
}
