//! A server of eight slots and its callers in virtual time: what the gate saves when capacity halves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::{Bulkhead, Entry, Gate, Permit, Refusal, Ticket, Turn, Wakes};
use crate::Moment;

const SLOTS: u32 = 8;
const HOLD: f64 = 0.020;
const DEADLINE: Duration = Duration::from_millis(250);
/// Three quarters of what eight slots of 20 ms can do.
const ARRIVALS_PER_SECOND: f64 = 300.0;

const FAULT_BEGINS: u64 = 20;
const FAULT_ENDS: u64 = 30;
const END: u64 = 50;

const QUEUES: [u32; 3] = [8, 50, 200];
const SEEDS: [u64; 4] = [0x5EED_0001, 0x5EED_0002, 77, 12345];

/// CALL-18: with capacity halved, as much is served in time as capacity is left, however long the line may grow.
///
/// Half of 400 calls a second is left for 300. A line of 50 that is only ever first in, first out serves each
/// caller after its 250 ms are over.
#[test]
fn halved_capacity_is_used_for_calls_in_time() {
    for (queue, seed) in runs() {
        let fault = Simulation::run(queue, seed).fault;
        let seconds = u32::try_from(FAULT_ENDS - FAULT_BEGINS).unwrap();
        assert!(
            fault.in_time >= 180 * seconds,
            "queue {queue}, seed {seed}: {fault:?}"
        );
        assert!(
            fault.late <= fault.in_time / 100,
            "queue {queue}, seed {seed}: {fault:?}"
        );
    }
}

/// CALL-18: at three quarters of capacity nobody is refused or shed who has a place to wait.
///
/// Eight places are too few for what chance brings at this load, but for less than one call in a hundred.
#[test]
fn a_healthy_gate_sheds_nobody() {
    for (queue, seed) in runs() {
        let healthy = Simulation::run(queue, seed).healthy;
        let full = if queue == 8 { healthy.came / 100 } else { 0 };
        assert!(
            healthy.full <= full,
            "queue {queue}, seed {seed}: {healthy:?}"
        );
        let turned_away = healthy.too_late + healthy.shed + healthy.waited_too_long;
        assert_eq!(turned_away, 0, "queue {queue}, seed {seed}: {healthy:?}");
    }
}

/// CALL-18: after the fault the line runs empty and the gate is as it was before.
#[test]
fn the_gate_recovers() {
    for (queue, seed) in runs() {
        let recovered = Simulation::run(queue, seed).recovered;
        let lost = recovered.came - recovered.in_time;
        assert!(
            lost <= recovered.came / 50,
            "queue {queue}, seed {seed}: {recovered:?}"
        );
    }
}

/// The same seed gives the same run, to the last caller.
#[test]
fn runs_are_repeatable() {
    let [first, second] = [(); 2].map(|()| Simulation::run(50, 99).fault);
    assert_eq!(first, second);
}

fn runs() -> impl Iterator<Item = (u32, u64)> {
    QUEUES
        .into_iter()
        .flat_map(|queue| SEEDS.map(|seed| (queue, seed)))
}

/// What became of the callers of one phase.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    came: u32,
    in_time: u32,
    late: u32,
    full: u32,
    too_late: u32,
    shed: u32,
    waited_too_long: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Done(usize),
    GiveUp(usize),
    Arrival,
}

enum Caller {
    Waiting(Ticket),
    Working(Permit),
    Gone,
}

struct Simulation {
    gate: Gate<usize>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    random: u64,
    now: u64,
    callers: Vec<(u64, Caller)>,
    healthy: Tally,
    fault: Tally,
    recovered: Tally,
}

impl Simulation {
    fn run(queue: u32, seed: u64) -> Self {
        let mut simulation = Self {
            gate: Gate::new(Bulkhead::limit(SLOTS).queue(queue)).unwrap(),
            events: BinaryHeap::new(),
            scheduled: 0,
            random: seed,
            now: 0,
            callers: Vec::new(),
            healthy: Tally::default(),
            fault: Tally::default(),
            recovered: Tally::default(),
        };
        simulation.schedule(0, Event::Arrival);
        while let Some(Reverse((at, _, event))) = simulation.events.pop() {
            simulation.now = at;
            simulation.on(event);
        }
        simulation
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::Done(id) => {
                let came = Moment::from_nanos(self.callers[id].0);
                let in_time = Moment::from_nanos(self.now) <= came.plus(DEADLINE);
                let Caller::Working(permit) = self.replace(id, Caller::Gone) else {
                    unreachable!("only work ends");
                };
                let tally = self.tally(id);
                if in_time {
                    tally.in_time += 1;
                } else {
                    tally.late += 1;
                }
                let wakes = self.gate.release(permit, Moment::from_nanos(self.now));
                self.wake(wakes);
            }
            Event::GiveUp(id) => {
                if matches!(self.callers[id].1, Caller::Waiting(_))
                    && let Caller::Waiting(ticket) = self.replace(id, Caller::Gone)
                {
                    self.tally(id).waited_too_long += 1;
                    let wakes = self.gate.leave(ticket, Moment::from_nanos(self.now));
                    self.wake(wakes);
                }
            }
        }
    }

    fn arrive(&mut self) {
        let id = self.callers.len();
        self.callers.push((self.now, Caller::Gone));
        self.tally(id).came += 1;
        let now = Moment::from_nanos(self.now);
        match self.gate.enter(1, now, now.plus(DEADLINE), || id) {
            Entry::Admitted(permit) => self.work(id, permit),
            Entry::Queued(ticket, wakes) => {
                self.schedule(ticket.wait_until().as_nanos(), Event::GiveUp(id));
                self.callers[id].1 = Caller::Waiting(ticket);
                self.wake(wakes);
            }
            Entry::Refused(Refusal::Full) => self.tally(id).full += 1,
            Entry::Refused(_) => self.tally(id).too_late += 1,
        }
        let next = self.now + self.exponential(1.0 / ARRIVALS_PER_SECOND);
        if next < END * 1_000_000_000 {
            self.schedule(next, Event::Arrival);
        }
    }

    fn wake(&mut self, wakes: Wakes<usize>) {
        for id in wakes {
            let Caller::Waiting(ticket) = self.replace(id, Caller::Gone) else {
                unreachable!("only who waits is woken");
            };
            match self.gate.poll(&ticket, |_| {}) {
                Turn::Waiting => unreachable!("nobody is woken for nothing"),
                Turn::Admitted(permit) => self.work(id, permit),
                Turn::Shed => self.tally(id).shed += 1,
            }
        }
    }

    fn work(&mut self, id: usize, permit: Permit) {
        self.callers[id].1 = Caller::Working(permit);
        let slow = (FAULT_BEGINS..FAULT_ENDS).contains(&(self.now / 1_000_000_000));
        let hold = self.exponential(if slow { 2.0 * HOLD } else { HOLD });
        self.schedule(self.now + hold, Event::Done(id));
    }

    fn tally(&mut self, id: usize) -> &mut Tally {
        match self.callers[id].0 / 1_000_000_000 {
            ..FAULT_BEGINS => &mut self.healthy,
            FAULT_BEGINS..FAULT_ENDS => &mut self.fault,
            _ => &mut self.recovered,
        }
    }

    fn replace(&mut self, id: usize, caller: Caller) -> Caller {
        std::mem::replace(&mut self.callers[id].1, caller)
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    /// Nanoseconds, exponentially distributed around `mean` seconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and far below 2^53"
    )]
    fn exponential(&mut self, mean: f64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let uniform = ((self.random >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.ln() * mean * 1e9) as u64
    }
}
