//! Where processes are killed: every place of every call, each in an order of its own.

use crate::engine::draw::{Purpose, below};
use crate::saga::gate::{Place, Point};
use crate::saga::order::{Call, Flow, Order, Process};

/// How much of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    All,
    /// Those that are known to hurt.
    Few,
}

impl Size {
    pub(crate) fn find(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "few" => Some(Self::Few),
            _ => None,
        }
    }
}

/// An order, and where it is when the process is killed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    pub(super) order: Order,
    pub(super) point: Point,
}

const FEW: [(Process, Flow, Call, Place); 9] = [
    (
        Process::Orchestrator,
        Flow::Good,
        Call::Charge,
        Place::Before,
    ),
    (Process::Orchestrator, Flow::Good, Call::Charge, Place::Done),
    (
        Process::Orchestrator,
        Flow::NotPaid,
        Call::Release,
        Place::Before,
    ),
    (
        Process::Orchestrator,
        Flow::NotConfirmed,
        Call::Refund,
        Place::Replied,
    ),
    (Process::Shop, Flow::Good, Call::Create, Place::Done),
    (Process::Shop, Flow::Good, Call::Confirm, Place::Done),
    (Process::Shop, Flow::NotPaid, Call::Release, Place::Done),
    (Process::Bank, Flow::Good, Call::Charge, Place::Done),
    (Process::Bank, Flow::NotConfirmed, Call::Refund, Place::Done),
];

/// The orders of a world in which this process is killed, in the order in which they are placed.
pub(super) fn sweep(seed: u64, victim: Process, size: Size) -> Vec<Planned> {
    let mut all = Vec::new();
    for flow in Flow::ALL {
        for call in flow.calls() {
            for place in Place::ALL {
                if can_die(victim, *call, place)
                    && (size == Size::All || FEW.contains(&(victim, flow, *call, place)))
                {
                    all.push((flow, *call, place));
                }
            }
        }
    }
    let planned = |(number, (flow, call, place)): (u64, _)| {
        // From 1.00 to 99.99.
        let cents = 100 + below(9_900, seed, Purpose::Amount, number);
        Planned {
            order: Order {
                number,
                cents,
                flow,
            },
            point: Point {
                order: number,
                call,
                place,
            },
        }
    };
    let mut planned: Vec<Planned> = (0..).zip(all).map(planned).collect();
    planned.sort_by_key(|planned| below(u64::MAX, seed, Purpose::Turn, planned.order.number));
    planned
}

/// A participant takes part in its own calls only, from when they arrive.
fn can_die(victim: Process, call: Call, place: Place) -> bool {
    victim == Process::Orchestrator || (call.of() == victim && place != Place::Before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_every_call_is_there_once() {
        let count = |victim| sweep(1, victim, Size::All).len();
        // 4, 5 and 7 calls with four places; 12 of them are the shop's and 4 the bank's.
        assert_eq!(count(Process::Orchestrator), 64);
        assert_eq!((count(Process::Shop), count(Process::Bank)), (36, 12));
        let few = Process::ALL.map(|victim| sweep(1, victim, Size::Few).len());
        assert_eq!(few.iter().sum::<usize>(), FEW.len());
    }

    #[test]
    fn the_seed_draws_amounts_and_turns() {
        let drawn = |seed| {
            let all = sweep(seed, Process::Bank, Size::All).into_iter();
            all.map(|planned| (planned.order.number, planned.order.cents))
                .collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
    }
}
