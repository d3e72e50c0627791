//! What became of an arm's orders. All of it is arithmetic.

use std::collections::BTreeMap;
use std::time::Duration;

use backstay::lease::Moment;

use super::world::{Ended, Order};
use crate::replies::customer::{ATTEMPTS, Said, Told};
use crate::replies::proxy::{Answered, End, Exchange};

/// Numbers, and for what is drawn the moments.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// When each row after an order's first was made.
    pub(super) twice: Vec<Moment>,
    pub(super) missing: usize,
    /// When each was due.
    pub(super) unknown: Vec<Duration>,
    pub(super) misled: usize,
    pub(super) gave_up: usize,
    pub(super) undone: usize,
    pub(super) asked: usize,
    pub(super) replays: Vec<Moment>,
    pub(super) by_kill: usize,
}

impl Counts {
    pub(super) fn of(arm: &Ended) -> Self {
        let mut counts = Self::default();
        // In the order in which they were made.
        let mut rows: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for row in &arm.rows {
            rows.entry(row.order).or_default().push(row.receipt);
        }
        for receipts in rows.values() {
            counts.twice.extend(
                receipts[1..]
                    .iter()
                    .map(|at| Moment::from_nanos(at.cast_unsigned())),
            );
        }
        let mut exchanges: BTreeMap<u64, Vec<End>> = BTreeMap::new();
        for Exchange { order, end } in &arm.exchanges {
            exchanges.entry(*order).or_default().push(*end);
        }
        for order in &arm.orders {
            let number = i64::try_from(order.number).unwrap_or(i64::MAX);
            let receipts = rows.get(&number).map_or(&[][..], Vec::as_slice);
            let exchanges = exchanges.get(&order.number);
            counts.add(*order, receipts, exchanges.map_or(&[][..], Vec::as_slice));
        }
        counts
    }

    fn add(&mut self, order: Order, receipts: &[i64], exchanges: &[End]) {
        let is_done = !receipts.is_empty();
        match order.told {
            Some(Told::Done(receipt)) => {
                let is_there = receipt.map_or(is_done, |receipt| receipts.contains(&receipt));
                self.missing += usize::from(!is_there);
            }
            failed if is_done => {
                self.unknown.push(order.due);
                self.misled += usize::from(failed == Some(Told::Failed(Said::Nothing)));
                let came_through = exchanges
                    .iter()
                    .any(|end| good(*end).is_some_and(|answer| answer.loss.is_none()));
                self.gave_up += usize::from(exchanges.len() < ATTEMPTS || came_through);
            }
            _ => self.undone += 1,
        }
        // Whether an answer is still owed: it was lost, and nothing was heard since.
        let mut owed = false;
        for end in exchanges {
            let End::Answered(answer) = end else {
                continue;
            };
            self.asked += usize::from(owed);
            if answer.replayed {
                self.replays.push(answer.at);
                self.by_kill += usize::from(!owed);
            }
            owed = good(*end).is_some_and(|answer| answer.loss.is_some());
        }
    }
}

/// An answer that says that the order is done.
fn good(end: End) -> Option<Answered> {
    match end {
        End::Answered(answer) if answer.status.is_success() => Some(answer),
        _ => None,
    }
}

/// Replies that did not arrive.
pub(super) fn lost(exchanges: &[Exchange]) -> u64 {
    let is_lost = |exchange: &&Exchange| {
        matches!(exchange.end, End::Answered(Answered { loss: Some(_), .. }))
    };
    exchanges.iter().filter(is_lost).count() as u64
}
