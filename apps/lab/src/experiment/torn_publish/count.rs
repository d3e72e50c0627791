//! From what both sides have to what is wrong in the read side.

use super::world::Ended;
use crate::torn::gate::Point;
use crate::torn::order::{Row, Side};

/// What the read side has of an order, held against the write side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Right,
    /// It is not there.
    Missing,
    /// It is as it was before.
    Stale,
    /// A change was counted that was counted before.
    Twice,
    /// It is something that it never was.
    Wrong,
}

/// An order with all that is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) point: Point,
    /// All that its customer was told is done is in the write side.
    pub(super) is_written: bool,
    pub(super) shown: Shown,
}

impl Shown {
    fn of(written: Option<&Row>, shown: Option<&Row>) -> Self {
        match (written, shown) {
            (None, None) => Self::Right,
            (Some(_), None) => Self::Missing,
            (None, Some(_)) => Self::Wrong,
            (Some(written), Some(shown)) => {
                if shown.order != written.order || shown.last > written.last {
                    Self::Wrong
                } else if shown.changes > written.changes {
                    Self::Twice
                } else if shown.last < written.last {
                    Self::Stale
                } else if shown.changes < written.changes {
                    Self::Wrong
                } else {
                    Self::Right
                }
            }
        }
    }
}

/// All orders of a world.
pub(super) fn orders(ended: &Ended) -> Vec<Known> {
    let known = ended.plan.iter().map(|planned| {
        let number = planned.order.number;
        let written = ended.write.orders.get(&number);
        let is_whole =
            |row: &Row| *row == Row::new(planned.order, planned.point.change, row.position);
        Known {
            point: planned.point,
            is_written: written.is_some_and(is_whole),
            shown: Shown::of(written, ended.read.orders.get(&number)),
        }
    });
    known.collect()
}

/// Customers whose sum is not what the write side says, those that one of the sides does not know among them.
pub(super) fn sums_off(write: &Side, read: &Side) -> usize {
    let is_off = |customer: &&i64| write.customers.get(customer) != read.customers.get(customer);
    let more = |customer: &&i64| !write.customers.contains_key(customer);
    let known = write.customers.keys().filter(is_off).count();
    known + read.customers.keys().filter(more).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torn::order::{Change, Order};

    const ORDER: Order = Order {
        number: 7,
        customer: 1,
        cents: 250,
    };

    fn row(last: Change) -> Row {
        Row::new(ORDER, last, 0)
    }

    #[test]
    fn each_way_to_be_wrong_is_told() {
        let (placed, confirmed) = (row(Change::Place), row(Change::Confirm));
        let counted = |changes| Row {
            changes,
            ..confirmed
        };
        let dearer = Order {
            cents: 251,
            ..ORDER
        };
        let cases = [
            (None, None, Shown::Right),
            (Some(confirmed), Some(confirmed), Shown::Right),
            (Some(confirmed), None, Shown::Missing),
            (Some(confirmed), Some(placed), Shown::Stale),
            (Some(confirmed), Some(counted(3)), Shown::Twice),
            (Some(confirmed), Some(counted(1)), Shown::Wrong),
            (Some(placed), Some(confirmed), Shown::Wrong),
            (None, Some(placed), Shown::Wrong),
            (
                Some(placed),
                Some(Row::new(dearer, Change::Place, 0)),
                Shown::Wrong,
            ),
        ];
        for (written, shown, told) in cases {
            let is = Shown::of(written.as_ref(), shown.as_ref());
            assert_eq!(is, told, "{written:?} {shown:?}");
        }
    }

    #[test]
    fn sums_are_compared_both_ways() {
        let (write, nothing) = (Side::of([row(Change::Place)]), Side::default());
        let read = Side::of([row(Change::Cancel)]);
        assert_eq!(sums_off(&write, &write), 0);
        let off = [
            sums_off(&write, &nothing),
            sums_off(&nothing, &write),
            sums_off(&write, &read),
        ];
        assert_eq!(off, [1, 1, 1]);
    }
}
