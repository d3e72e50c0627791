//! The gate against a plain line, and what must hold whatever happens to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::tests::Answer::{Admitted, Queued, Refused};
use super::tests::{Answer, Driver, at, ms};
use super::{Bulkhead, Entry, Gate, Refusal, Turn, Wakes};
use crate::Moment;

#[derive(Clone, Debug)]
enum Op {
    Enter { weight: u32, time: u64 },
    Release(prop::sample::Index),
    Leave(prop::sample::Index),
    Poll(prop::sample::Index),
    Limit(u32),
    Pass(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (prop_oneof![4 => Just(1u32), 1 => 0u32..5], 1u64..300)
            .prop_map(|(weight, time)| Op::Enter { weight, time }),
        4 => any::<prop::sample::Index>().prop_map(Op::Release),
        1 => any::<prop::sample::Index>().prop_map(Op::Leave),
        1 => any::<prop::sample::Index>().prop_map(Op::Poll),
        1 => (1u32..6).prop_map(Op::Limit),
        2 => (1u64..80).prop_map(Op::Pass),
    ];
    prop::collection::vec(op, 1..200)
}

fn pick<V>(map: &BTreeMap<u32, V>, index: prop::sample::Index) -> Option<u32> {
    (!map.is_empty()).then(|| *index.get(&map.keys().copied().collect::<Vec<_>>()))
}

/// First in, first out, with nothing clever: what the gate must equal while there is no pressure.
#[derive(Default)]
struct Naive {
    limit: u32,
    places: usize,
    in_use: BTreeMap<u32, u32>,
    line: VecDeque<(u32, u32)>,
}

impl Naive {
    fn used(&self) -> u32 {
        self.in_use.values().sum()
    }

    fn enter(&mut self, id: u32, weight: u32) -> Answer {
        if weight > self.limit {
            return Refused(Refusal::TooHeavy { limit: self.limit });
        }
        if self.line.is_empty() && self.used() + weight <= self.limit {
            self.in_use.insert(id, weight);
            return Admitted;
        }
        if self.line.len() >= self.places {
            return Refused(Refusal::Full);
        }
        self.line.push_back((id, weight));
        Queued
    }

    /// Those granted and those shed.
    fn serve(&mut self) -> (Vec<u32>, Vec<u32>) {
        let (mut granted, mut shed) = (Vec::new(), Vec::new());
        while let Some((id, weight)) = self.line.front().copied() {
            if weight > self.limit {
                shed.push(id);
            } else if self.used() + weight <= self.limit {
                self.in_use.insert(id, weight);
                granted.push(id);
            } else {
                break;
            }
            self.line.pop_front();
        }
        (granted, shed)
    }
}

proptest! {
    /// CALL-18: without pressure the gate equals a plain line, grant for grant, also while the limit moves.
    #[test]
    fn equals_a_plain_line(limit in 1u32..6, places in 0u32..6, ops in ops()) {
        let mut driver = Driver::new(Bulkhead::limit(limit).queue(places));
        let mut naive = Naive { limit, places: places as usize, ..Naive::default() };
        for (id, op) in (0u32..).zip(ops) {
            match op {
                Op::Enter { weight, .. } => {
                    prop_assert_eq!(driver.enter(id, weight, Moment::NEVER), naive.enter(id, weight.max(1)));
                    continue;
                }
                Op::Release(index) => {
                    let Some(id) = pick(&driver.permits, index) else { continue };
                    driver.release(id);
                    naive.in_use.remove(&id);
                }
                Op::Leave(index) => {
                    let Some(id) = pick(&driver.tickets, index) else { continue };
                    driver.leave(id);
                    naive.line.retain(|(other, _)| *other != id);
                }
                Op::Limit(limit) => {
                    driver.set(Bulkhead::limit(limit).queue(places));
                    naive.limit = limit;
                }
                Op::Poll(_) | Op::Pass(_) => continue,
            }
            let (granted, shed) = naive.serve();
            prop_assert_eq!(&driver.granted, &granted);
            prop_assert_eq!(&driver.shed, &shed);
            prop_assert_eq!(driver.in_use(), naive.used());
        }
    }

    /// CALL-18: under any pressure and with grants taken late: no permit is lost or made, the limit holds, and
    /// when all is done the gate is whole.
    #[test]
    fn permits_are_conserved(limit in 1u32..6, places in 0u32..6, ops in ops()) {
        let gate: Gate<u32> = Gate::new(Bulkhead::limit(limit).queue(places)).unwrap();
        let (mut limit, mut now) = (limit, at(0));
        let (mut permits, mut tickets) = (BTreeMap::new(), BTreeMap::new());
        let mut weights = BTreeMap::new();
        // Granted and not yet asked: they hold a permit as well.
        let woken = RefCell::new(Vec::new());
        let wake = |wakes: Wakes<u32>| woken.borrow_mut().extend(wakes);
        for (id, op) in (0u32..).zip(ops) {
            match op {
                Op::Enter { weight, time } => {
                    weights.insert(id, weight.max(1));
                    let before = gate.snapshot(now);
                    match gate.enter(weight, now, now.plus(ms(time)), || id) {
                        Entry::Admitted(permit) => {
                            prop_assert!(before.in_use + weight.max(1) <= limit);
                            permits.insert(id, permit);
                        }
                        Entry::Queued(ticket, wakes) => {
                            tickets.insert(id, ticket);
                            wake(wakes);
                        }
                        Entry::Refused(Refusal::Full | Refusal::TooLate { .. }) => prop_assert!(
                            before.waiting > 0 || before.in_use + weight.max(1) > limit
                        ),
                        Entry::Refused(_) => prop_assert!(weight > limit),
                    }
                }
                Op::Release(index) => if let Some(id) = pick(&permits, index) {
                    wake(gate.release(permits.remove(&id).unwrap(), now));
                },
                Op::Leave(index) => if let Some(id) = pick(&tickets, index) {
                    wake(gate.leave(tickets.remove(&id).unwrap(), now));
                },
                Op::Poll(index) => if let Some(id) = pick(&tickets, index) {
                    let was_woken = woken.borrow().contains(&id);
                    match gate.poll(&tickets[&id], |_| {}) {
                        Turn::Waiting => prop_assert!(!was_woken),
                        Turn::Admitted(permit) => {
                            prop_assert!(was_woken);
                            tickets.remove(&id);
                            permits.insert(id, permit);
                        }
                        Turn::Shed => {
                            prop_assert!(was_woken);
                            tickets.remove(&id);
                        }
                    }
                },
                Op::Limit(new) => {
                    wake(gate.set(Bulkhead::limit(new).queue(places), now).unwrap());
                    limit = new;
                }
                Op::Pass(millis) => now = now.plus(ms(millis)),
            }
            let snapshot = gate.snapshot(now);
            let held: u32 = permits.keys().map(|id| weights[id]).sum();
            prop_assert!(snapshot.in_use >= held);
            let woken = woken.borrow();
            let waiting = tickets.keys().filter(|id| !woken.contains(id)).count();
            prop_assert_eq!(snapshot.waiting as usize, waiting);
            // Somebody waits only because everything is taken, or the next one needs more than is free.
            let all_light = tickets.keys().all(|id| weights[id] == 1);
            prop_assert!(waiting == 0 || !all_light || snapshot.in_use >= limit);
        }
        for (id, ticket) in std::mem::take(&mut tickets) {
            if let Turn::Admitted(permit) = gate.poll(&ticket, |_| {}) {
                permits.insert(id, permit);
            } else {
                drop(gate.leave(ticket, Moment::NEVER));
            }
        }
        for (_, permit) in permits {
            drop(gate.release(permit, now));
        }
        prop_assert_eq!(gate.snapshot(now).in_use, 0);
        prop_assert!(matches!(gate.enter(limit, now, Moment::NEVER, || 0), Entry::Admitted(_)));
    }
}
