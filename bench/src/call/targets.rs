//! What Backstay set out to reach, judged by the rows.

use super::row::{Row, throughput};
use super::subject::Group;
use crate::target::{Bound, Target};

/// Our crate, as its rows name it: alone, or before the brackets of a stack.
const OURS: &str = "backstay";

/// The strongest peer.
const PEER: &str = "seatbelt";

/// Ours at most, as a share of the peer's time.
const BREAKER_SHARE: f64 = 0.35;
const STACK_SHARE: f64 = 0.8;

/// Throughput of two threads over that of one, at least.
const TWO_THREADS: f64 = 1.6;

/// What two medians of the same code may differ by.
const NOISE: f64 = 0.03;

/// Every target, or none when we are not among the subjects.
pub(crate) fn targets(rows: &[Row]) -> Vec<Target> {
    if !rows.iter().any(|row| by(row, OURS)) {
        return Vec::new();
    }
    let mut targets = vec![
        allocations(rows),
        Target {
            claim: format!("breaker closed: {OURS}'s time by {PEER}'s"),
            bound: Bound::AtMost(BREAKER_SHARE),
            measured: share(rows, Group::BreakerClosed),
        },
        Target {
            claim: format!("stack: {OURS}'s time by that of {PEER}'s fastest stack"),
            bound: Bound::AtMost(STACK_SHARE),
            measured: share(rows, Group::Stack),
        },
    ];
    for group in [Group::BreakerClosed, Group::Stack] {
        targets.extend(scaling(rows, group));
    }
    targets
}

fn allocations(rows: &[Row]) -> Target {
    Target {
        claim: format!("every group: {OURS}'s allocations a call"),
        bound: Bound::AtMost(0.0),
        measured: rows
            .iter()
            .filter(|row| by(row, OURS))
            .map(|row| row.allocs)
            .reduce(f64::max),
    }
}

/// Our time on one thread by the peer's fastest.
fn share(rows: &[Row], group: Group) -> Option<f64> {
    Some(fastest(rows, OURS, group, 1)?.ns / fastest(rows, PEER, group, 1)?.ns)
}

fn scaling(rows: &[Row], group: Group) -> [Target; 2] {
    let ratio = |threads, base| {
        let row = fastest(rows, OURS, group, threads)?;
        Some(throughput(row, fastest(rows, OURS, group, base)?))
    };
    [
        Target {
            claim: format!("{group}: throughput of 2 threads by that of 1"),
            bound: Bound::AtLeast(TWO_THREADS),
            measured: ratio(2, 1),
        },
        Target {
            claim: format!("{group}: throughput of 8 threads by that of 2, less 3 % noise"),
            bound: Bound::AtLeast(1.0 - NOISE),
            measured: ratio(8, 2),
        },
    ]
}

fn fastest<'a>(rows: &'a [Row], name: &str, group: Group, threads: usize) -> Option<&'a Row> {
    rows.iter()
        .filter(|row| by(row, name) && row.group == group.name() && row.threads == threads)
        .min_by(|a, b| a.ns.total_cmp(&b.ns))
}

fn by(row: &Row, name: &str) -> bool {
    row.subject.split(' ').next() == Some(name)
}

#[cfg(test)]
mod tests;
