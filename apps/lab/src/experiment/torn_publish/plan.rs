//! Where processes are killed: every place of every change, each in an order of its own.

use super::super::crash::plan::Size;
use crate::engine::draw::{Purpose, below};
use crate::torn::Way;
use crate::torn::gate::{Place, Point};
use crate::torn::order::{Change, Order, Process};

/// An order, and where it is when the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) order: Order,
    pub(super) point: Point,
}

const FEW: [(Process, Change, Place); 7] = [
    (Process::Writer, Change::Place, Place::Arrived),
    (Process::Writer, Change::Place, Place::Written),
    (Process::Writer, Change::Confirm, Place::Written),
    (Process::Writer, Change::Place, Place::Taken),
    (Process::Reader, Change::Place, Place::Published),
    (Process::Reader, Change::Place, Place::Handled),
    (Process::Reader, Change::Cancel, Place::Answered),
];

/// As many customers share the orders.
const CUSTOMERS: i64 = 3;

/// The orders of a world in which this process is killed, in the order in which they are placed.
pub(super) fn sweep(seed: u64, victim: Process, size: Size) -> Vec<Planned> {
    let places = |change| Place::ALL.map(|place| (change, place));
    let all = Change::ALL.into_iter().flat_map(places);
    let is_in = |(change, place): &(Change, Place)| {
        size == Size::All || FEW.contains(&(victim, *change, *place))
    };
    let planned = |(number, (change, place)): (u64, (Change, Place))| {
        let order = number.cast_signed();
        Planned {
            order: Order {
                number: order,
                customer: order % CUSTOMERS,
                // From 1.00 to 99.99.
                cents: 100 + below(9_900, seed, Purpose::Amount, number).cast_signed(),
            },
            point: Point {
                order,
                change,
                place,
            },
        }
    };
    let mut planned: Vec<Planned> = (0..).zip(all.filter(is_in)).map(planned).collect();
    planned.sort_by_key(|planned| {
        let number = planned.order.number.unsigned_abs();
        below(u64::MAX, seed, Purpose::Turn, number)
    });
    planned
}

/// The orders by worlds. A relay sends nothing of the next page of the log before it has noted the one before, so one that is
/// held on its way holds up all others: each has a world for itself.
pub(super) fn worlds(way: Way, plan: Vec<Planned>) -> Vec<Vec<Planned>> {
    if !way.has_relay() {
        return vec![plan];
    }
    let is_between = |planned: &Planned| planned.point.place.is_between();
    let (between, beside): (Vec<_>, Vec<_>) = plan.into_iter().partition(is_between);
    let mut worlds: Vec<_> = between.into_iter().map(|planned| vec![planned]).collect();
    if !beside.is_empty() {
        worlds.push(beside);
    }
    worlds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_every_change_is_there_once() {
        for victim in Process::ALL {
            let plan = sweep(1, victim, Size::All);
            assert_eq!(plan.len(), Change::ALL.len() * Place::ALL.len());
            let is_new = |(nth, planned): (usize, &Planned)| {
                let same = |other: &Planned| {
                    (other.point.change, other.point.place)
                        == (planned.point.change, planned.point.place)
                };
                !plan[..nth].iter().any(same)
            };
            assert!(plan.iter().enumerate().all(is_new));
        }
        let few = Process::ALL.map(|victim| sweep(1, victim, Size::Few).len());
        assert_eq!(few.iter().sum::<usize>(), FEW.len());
    }

    #[test]
    fn a_relay_has_one_order_at_a_time_on_its_way() {
        let plan = sweep(1, Process::Writer, Size::All);
        let all = worlds(Way::Backstay, plan.clone());
        let sent = |world: &Vec<Planned>| {
            let between = world.iter().filter(|order| order.point.place.is_between());
            between.count()
        };
        assert!(all.iter().all(|world| sent(world) <= 1));
        let mut again: Vec<Planned> = all.into_iter().flatten().collect();
        again.sort_by_key(|planned| plan.iter().position(|other| other == planned));
        assert_eq!(again, plan);
        assert_eq!(worlds(Way::Article, plan.clone()), [plan]);
    }

    #[test]
    fn the_seed_draws_amounts_and_turns() {
        let drawn = |seed| sweep(seed, Process::Reader, Size::All);
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
