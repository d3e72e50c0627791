//! From rows to what became of each order.

use std::collections::{HashMap, HashSet};

use super::plan::Planned;
use super::world::Ended;
use crate::saga::books::Row;
use crate::saga::customer::Told;
use crate::saga::gate::Point;
use crate::saga::order::{Call, Flow, Order};

/// What the books say of an order. A customer who asks again wants the same order, not a second one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) confirmed: i64,
    /// Created, and neither confirmed nor deleted.
    pub(super) pending: i64,
    /// Stock that is reserved and not released.
    pub(super) held: i64,
    /// Charges less refunds.
    pub(super) paid: i64,
    pub(super) refunds: i64,
}

/// An order with all that is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) order: Order,
    pub(super) point: Point,
    pub(super) told: Option<Told>,
    pub(super) tally: Tally,
}

impl Tally {
    fn of(rows: &[Row]) -> Self {
        let all = |call| rows.iter().filter(move |row| row.call == call);
        let left = |call, undo| {
            let gone: HashSet<i64> = all(undo).filter_map(|row| row.of).collect();
            let left = all(call).filter(|row| !gone.contains(&row.id));
            left.collect::<Vec<_>>()
        };
        let number = |ids: usize| i64::try_from(ids).unwrap_or(i64::MAX);
        let created = left(Call::Create, Call::Delete);
        let confirmations = left(Call::Confirm, Call::Revoke);
        let is_confirmed = |row: &&&Row| confirmations.iter().any(|by| by.of == Some(row.id));
        let confirmed = number(created.iter().filter(is_confirmed).count());
        let refunds = number(all(Call::Refund).count());
        Self {
            confirmed,
            pending: number(created.len()) - confirmed,
            held: number(left(Call::Reserve, Call::Release).len()),
            paid: number(all(Call::Charge).count()) - refunds,
            refunds,
        }
    }

    /// What a customer got: the order once, or nothing.
    fn wanted(self) -> i64 {
        self.confirmed.min(1)
    }

    /// Confirmed with its stock and its charge, or undone.
    pub(super) fn is_ended(self) -> bool {
        let Self {
            confirmed,
            pending,
            held,
            paid,
            ..
        } = self;
        pending == 0 && confirmed == self.wanted() && held == confirmed && paid == confirmed
    }

    /// Neither confirmed nor undone.
    pub(super) fn is_stuck(self) -> bool {
        self.confirmed == 0 && !self.is_ended()
    }

    /// Orders, stock and charges that belong to no confirmed order.
    pub(super) fn orphans(self) -> i64 {
        let without = |count: i64| (count - self.confirmed).max(0);
        self.pending + without(self.held) + without(self.paid)
    }

    /// Charges after the first, and refunds after the charge was refunded.
    pub(super) fn twice(self) -> i64 {
        (self.paid - 1).max(0) + (-self.paid).max(0)
    }

    pub(super) fn is_refunded_though_confirmed(self) -> bool {
        self.confirmed > 0 && self.refunds > 0 && self.paid < self.confirmed
    }

    /// How much more was paid than should be; less than 0 where it was too little.
    pub(super) fn too_much(self, cents: u64) -> i64 {
        (self.paid - self.wanted()) * cents.cast_signed()
    }
}

impl Known {
    /// Nobody refused it, and it was not carried out.
    pub(super) fn is_missed(&self) -> bool {
        self.order.flow == Flow::Good && self.tally.confirmed == 0
    }

    /// The customer believes something else than the books say, or knows nothing.
    pub(super) fn is_misled(&self) -> bool {
        match self.told {
            Some(Told::Placed) => self.tally.confirmed == 0,
            Some(Told::NotPlaced) => self.tally.confirmed > 0,
            Some(Told::Trouble) | None => true,
        }
    }
}

/// All orders of a world.
pub(super) fn orders(ended: &Ended) -> Vec<Known> {
    let mut by_order: HashMap<i64, Vec<Row>> = HashMap::new();
    for row in &ended.rows {
        by_order.entry(row.order).or_default().push(*row);
    }
    let known = |(planned, told): &(Planned, Option<Told>)| {
        let rows = by_order.get(&planned.order.number.cast_signed());
        Known {
            order: planned.order,
            point: planned.point,
            told: *told,
            tally: Tally::of(rows.map_or(&[], Vec::as_slice)),
        }
    };
    ended.orders.iter().map(known).collect()
}

#[cfg(test)]
mod tests;
