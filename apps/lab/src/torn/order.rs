//! An order, what is done with it, and what a side knows of it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

/// An order, as its customer sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: i64,
    pub(crate) customer: i64,
    pub(crate) cents: i64,
}

/// What a customer does with an order, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    Place,
    Confirm,
    Cancel,
}

/// What a customer sends to the writer, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) order: Order,
    pub(crate) change: Change,
}

/// A process of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Process {
    Writer,
    Reader,
}

/// An order as one of the sides has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) order: Order,
    /// The last that was done.
    pub(crate) last: Change,
    /// So many changes were taken.
    pub(crate) changes: i64,
    /// Where the last is in the log, in arms that have one.
    pub(crate) position: i64,
}

/// What a customer has ordered and not cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sum {
    pub(crate) orders: i64,
    pub(crate) cents: i64,
}

/// All that a side has, by number and by customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) orders: BTreeMap<i64, Row>,
    pub(crate) customers: BTreeMap<i64, Sum>,
}

/// What a process says of itself when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) checksum: u64,
    /// Nothing is on its way from it that would be sent again.
    pub(crate) is_at_rest: bool,
}

impl Change {
    pub(crate) const ALL: [Self; 3] = [Self::Place, Self::Confirm, Self::Cancel];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
        }
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|change| change.name() == name)
    }

    /// What an order has to have come to for it.
    pub(crate) fn before(self) -> Option<Self> {
        match self {
            Self::Place => None,
            Self::Confirm => Some(Self::Place),
            Self::Cancel => Some(Self::Confirm),
        }
    }

    /// This one, after all that come before it.
    pub(crate) fn and_before(self) -> &'static [Self] {
        match self {
            Self::Place => &Self::ALL[..1],
            Self::Confirm => &Self::ALL[..2],
            Self::Cancel => &Self::ALL,
        }
    }

    /// What it adds to the sum of its customer.
    pub(crate) fn adds(self, order: Order) -> Sum {
        let times = match self {
            Self::Place => 1,
            Self::Confirm => 0,
            Self::Cancel => -1,
        };
        Sum {
            orders: times,
            cents: times * order.cents,
        }
    }
}

impl Process {
    pub(crate) const ALL: [Self; 2] = [Self::Writer, Self::Reader];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
        }
    }
}

impl Row {
    /// An order that has come so far.
    pub(crate) fn new(order: Order, last: Change, position: i64) -> Self {
        let changes = i64::try_from(last.and_before().len()).unwrap_or(i64::MAX);
        Self {
            order,
            last,
            changes,
            position,
        }
    }
}

impl Side {
    /// These orders, with the sums that follow from them.
    pub(crate) fn of(orders: impl IntoIterator<Item = Row>) -> Self {
        let mut side = Self::default();
        for row in orders {
            side.orders.insert(row.order.number, row);
            for change in row.last.and_before() {
                let adds = change.adds(row.order);
                let sum = side.customers.entry(row.order.customer).or_default();
                sum.orders += adds.orders;
                sum.cents += adds.cents;
            }
        }
        side
    }

    /// Equal where the sides are, wherever in a log they have it from.
    pub(crate) fn checksum(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for row in self.orders.values() {
            (row.order, row.last, row.changes).hash(&mut hasher);
        }
        self.customers.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(number: i64) -> Order {
        Order {
            number,
            customer: 1,
            cents: 250,
        }
    }

    #[test]
    fn sums_are_of_what_is_not_cancelled() {
        let rows = Change::ALL.map(|last| Row::new(order(last as i64), last, 0));
        let side = Side::of(rows);
        let sum = Sum {
            orders: 2,
            cents: 500,
        };
        assert_eq!(side.customers[&1], sum);
        assert_eq!(side.orders[&2].changes, 3);
    }

    #[test]
    fn checksums_tell_all_but_positions() {
        let side = |last, position| Side::of([Row::new(order(1), last, position)]);
        let (one, two) = (side(Change::Place, 3), side(Change::Place, 9));
        assert_eq!(one.checksum(), two.checksum());
        assert_ne!(one.checksum(), side(Change::Confirm, 3).checksum());
        assert_ne!(one.checksum(), Side::default().checksum());
        let mut twice = one.clone();
        twice.orders.get_mut(&1).unwrap().changes += 1;
        assert_ne!(one.checksum(), twice.checksum());
        let mut off = one.clone();
        off.customers.get_mut(&1).unwrap().cents += 1;
        assert_ne!(one.checksum(), off.checksum());
    }
}
