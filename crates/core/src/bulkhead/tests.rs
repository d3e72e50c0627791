use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::{Bulkhead, Entry, Gate, Permit, Refusal, Ticket, Turn, Wakes};
use crate::Moment;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

/// A driver of named callers: whoever is woken asks at once.
struct Driver {
    gate: Gate<u32>,
    now: Moment,
    tickets: BTreeMap<u32, Ticket>,
    permits: BTreeMap<u32, Permit>,
    /// What happened to those who were woken, in order.
    granted: Vec<u32>,
    shed: Vec<u32>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Admitted,
    Queued,
    Refused(Refusal),
}
use Answer::{Admitted, Queued, Refused};

impl Driver {
    fn new(options: Bulkhead) -> Self {
        Self {
            gate: Gate::new(options).unwrap(),
            now: at(0),
            tickets: BTreeMap::new(),
            permits: BTreeMap::new(),
            granted: Vec::new(),
            shed: Vec::new(),
        }
    }

    fn at(&mut self, millis: u64) -> &mut Self {
        self.now = at(millis);
        self.granted.clear();
        self.shed.clear();
        self
    }

    fn enter(&mut self, id: u32, weight: u32, leave_by: Moment) -> Answer {
        match self.gate.enter(weight, self.now, leave_by, || id) {
            Entry::Admitted(permit) => {
                self.permits.insert(id, permit);
                Admitted
            }
            Entry::Queued(ticket, wakes) => {
                self.tickets.insert(id, ticket);
                self.wake(wakes);
                Queued
            }
            Entry::Refused(refusal) => Refused(refusal),
        }
    }

    /// For callers with all the time in the world.
    fn enter_one(&mut self, id: u32) -> Answer {
        self.enter(id, 1, Moment::NEVER)
    }

    fn release(&mut self, id: u32) -> &[u32] {
        let permit = self.permits.remove(&id).unwrap();
        let wakes = self.gate.release(permit, self.now);
        self.wake(wakes)
    }

    fn leave(&mut self, id: u32) -> &[u32] {
        let wakes = self.gate.leave(self.tickets.remove(&id).unwrap(), self.now);
        self.wake(wakes)
    }

    fn set(&mut self, options: Bulkhead) -> &[u32] {
        let wakes = self.gate.set(options, self.now).unwrap();
        self.wake(wakes)
    }

    fn wake(&mut self, wakes: Wakes<u32>) -> &[u32] {
        self.granted.clear();
        self.shed.clear();
        for id in wakes {
            let ticket = self.tickets.remove(&id).unwrap();
            match self.gate.poll(&ticket, |_| {}) {
                Turn::Waiting => panic!("{id} was woken for nothing"),
                Turn::Admitted(permit) => {
                    self.permits.insert(id, permit);
                    self.granted.push(id);
                }
                Turn::Shed => self.shed.push(id),
            }
        }
        &self.granted
    }

    fn in_use(&self) -> u32 {
        self.gate.snapshot(self.now).in_use
    }

    /// Teaches the gate that a permit is held for so long; ends at that time.
    fn learn_hold(&mut self, millis: u64) {
        assert_eq!(self.enter_one(u32::MAX), Admitted);
        self.at(millis).release(u32::MAX);
    }
}

/// CALL-18: the limit holds whichever thread's stripe the permits lie in; without places the next is refused.
#[test]
fn admits_up_to_the_limit() {
    for limit in [1, 3, 8, 100] {
        let mut driver = Driver::new(Bulkhead::limit(limit));
        for id in 0..limit {
            assert_eq!(driver.enter_one(id), Admitted);
        }
        assert_eq!(driver.enter_one(limit), Refused(Refusal::Full));
        driver.release(0);
        assert_eq!(driver.enter_one(limit), Admitted);
        assert_eq!(driver.in_use(), limit);
    }
}

/// CALL-18: the line is bounded, first in first out, and a release serves exactly one.
#[test]
fn waits_in_order_in_a_bounded_line() {
    let mut driver = Driver::new(Bulkhead::limit(1).queue(2));
    assert_eq!(driver.enter_one(0), Admitted);
    assert_eq!(driver.enter_one(1), Queued);
    assert_eq!(driver.enter_one(2), Queued);
    assert_eq!(driver.enter_one(3), Refused(Refusal::Full));
    assert_eq!(driver.release(0), [1]);
    assert_eq!(driver.enter_one(4), Queued);
    assert_eq!(driver.release(1), [2]);
    assert_eq!(driver.release(2), [4]);
    assert!(driver.release(4).is_empty());
}

/// CALL-18: nobody overtakes the line, also not while a permit lies free for the one who is being woken.
#[test]
fn a_newcomer_does_not_barge() {
    let gate: Gate<u32> = Gate::new(Bulkhead::limit(2).queue(5)).unwrap();
    let Entry::Admitted(heavy) = gate.enter(2, at(0), Moment::NEVER, || 0) else {
        panic!()
    };
    let Entry::Queued(first, _) = gate.enter(2, at(0), Moment::NEVER, || 1) else {
        panic!()
    };
    let Entry::Queued(second, _) = gate.enter(1, at(0), Moment::NEVER, || 2) else {
        panic!()
    };
    let woken: Vec<u32> = gate.release(heavy, at(1)).into_iter().collect();
    assert_eq!(woken, [1]);
    assert!(matches!(gate.poll(&second, |_| {}), Turn::Waiting));
    assert!(matches!(gate.poll(&first, |_| {}), Turn::Admitted(_)));
}

/// CALL-18: the heavy one at the head is served in its turn, and one that weighs too much is refused at once.
#[test]
fn weights_are_served_in_turn() {
    let mut driver = Driver::new(Bulkhead::limit(4).queue(5));
    assert_eq!(
        driver.enter(0, 5, Moment::NEVER),
        Refused(Refusal::TooHeavy { limit: 4 })
    );
    assert_eq!(driver.enter(1, 3, Moment::NEVER), Admitted);
    assert_eq!(driver.enter(2, 2, Moment::NEVER), Queued);
    assert_eq!(
        driver.enter_one(3),
        Queued,
        "one permit is free, but it is not its turn"
    );
    assert_eq!(driver.release(1), [2, 3]);
    assert_eq!(driver.in_use(), 3);
    assert_eq!(
        driver.enter(4, 0, Moment::NEVER),
        Admitted,
        "no weight counts as one"
    );
    assert_eq!(driver.in_use(), 4);
}

/// CALL-18: when the heavy head gives up, those it held up are served.
#[test]
fn leaving_lets_the_next_pass() {
    let mut driver = Driver::new(Bulkhead::limit(4).queue(5));
    assert_eq!(driver.enter(1, 3, Moment::NEVER), Admitted);
    assert_eq!(driver.enter(2, 2, Moment::NEVER), Queued);
    assert_eq!(driver.enter_one(3), Queued);
    assert_eq!(driver.leave(2), [3]);
    assert_eq!(driver.in_use(), 4);
}

/// CALL-18: a permit granted to somebody who leaves before hearing of it goes to the next.
#[test]
fn a_grant_that_nobody_takes_is_passed_on() {
    let gate: Gate<u32> = Gate::new(Bulkhead::limit(1).queue(5)).unwrap();
    let Entry::Admitted(held) = gate.enter(1, at(0), Moment::NEVER, || 0) else {
        panic!()
    };
    let Entry::Queued(first, _) = gate.enter(1, at(0), Moment::NEVER, || 1) else {
        panic!()
    };
    let Entry::Queued(second, _) = gate.enter(1, at(0), Moment::NEVER, || 2) else {
        panic!()
    };
    assert_eq!(gate.release(held, at(1)).into_iter().count(), 1);
    assert_eq!(
        gate.leave(first, at(2)).into_iter().collect::<Vec<_>>(),
        [2]
    );
    let Turn::Admitted(held) = gate.poll(&second, |_| {}) else {
        panic!()
    };
    assert_eq!(gate.release(held, at(3)).into_iter().count(), 0);
    assert!(matches!(
        gate.enter(1, at(3), Moment::NEVER, || 3),
        Entry::Admitted(_)
    ));
}

/// CALL-18: a place is refused at once when the wait and the work after it do not fit the time left.
#[test]
fn refuses_who_would_be_served_too_late() {
    let mut driver = Driver::new(Bulkhead::limit(2).queue(50));
    driver.learn_hold(20);
    assert_eq!(driver.enter_one(0), Admitted);
    assert_eq!(driver.enter_one(1), Admitted);
    // One of two permits comes free in 10 ms, and 20 ms of work follow.
    let expected = ms(10);
    assert_eq!(
        driver.enter(2, 1, at(49)),
        Refused(Refusal::TooLate { expected })
    );
    assert_eq!(driver.gate.expected_wait(), expected);
    assert_eq!(driver.enter(2, 1, at(50)), Queued);
    assert_eq!(
        driver.enter(3, 1, at(59)),
        Refused(Refusal::TooLate { expected: ms(20) })
    );
    assert_eq!(driver.enter(3, 1, at(60)), Queued);
    assert_eq!(
        driver.enter(4, 2, at(70)),
        Refused(Refusal::TooLate { expected: ms(40) })
    );
}

/// CALL-18: the longest wait bounds the place and the refusal; a nearer deadline bounds it more.
#[test]
fn max_wait_is_charged() {
    let mut driver = Driver::new(Bulkhead::limit(1).queue(50).max_wait(ms(25)));
    driver.learn_hold(10);
    assert_eq!(driver.enter_one(0), Admitted);
    assert_eq!(driver.enter(1, 1, at(31)), Queued);
    assert_eq!(driver.tickets[&1].wait_until(), at(31));
    assert_eq!(driver.enter_one(2), Queued);
    assert_eq!(driver.tickets[&2].wait_until(), at(35));
    assert_eq!(
        driver.enter_one(3),
        Refused(Refusal::TooLate { expected: ms(30) })
    );
}

/// CALL-18: nobody is served whose time is over, and the permit goes to one whose is not.
#[test]
fn the_expired_are_shed_instead_of_served() {
    let mut driver = Driver::new(Bulkhead::limit(1).queue(50));
    assert_eq!(driver.enter_one(0), Admitted);
    assert_eq!(driver.enter(1, 1, at(8)), Queued);
    assert_eq!(driver.enter_one(2), Queued);
    assert_eq!(driver.at(8).release(0), [2]);
    assert_eq!(driver.shed, [1]);
}

/// CALL-18: under pressure the newest is served first and those passed over after half their time are shed.
#[test]
fn newest_first_under_pressure() {
    let mut driver = Driver::new(Bulkhead::limit(1).queue(50));
    assert_eq!(driver.enter_one(0), Admitted);
    for (id, millis) in [(1, 0), (2, 10), (3, 60), (4, 90)] {
        assert_eq!(driver.at(millis).enter(id, 1, at(millis + 200)), Queued);
    }
    assert_eq!(
        driver.at(99).release(0),
        [1],
        "half of the head's 200 ms are not over"
    );
    assert_eq!(
        driver.at(110).release(1),
        [4],
        "now half of the next one's are"
    );
    assert_eq!(
        driver.shed,
        [2],
        "which was passed over; the third has time"
    );
    assert_eq!(
        driver.at(170).release(4),
        [3],
        "the last one is served however stale"
    );
    assert!(driver.shed.is_empty());
    // The line ran empty, the pressure is gone.
    for (id, millis) in [(5, 170), (6, 171)] {
        assert_eq!(driver.at(millis).enter(id, 1, at(millis + 2_000)), Queued);
    }
    assert_eq!(driver.at(180).release(3), [5]);
}

/// CALL-18: the last one in the line is not shed, however stale: the next permit is for it.
#[test]
fn the_last_one_keeps_its_place() {
    let mut driver = Driver::new(Bulkhead::limit(1).queue(50));
    assert_eq!(driver.enter_one(0), Admitted);
    assert_eq!(driver.enter(1, 1, at(200)), Queued);
    assert_eq!(driver.at(10).enter(2, 1, at(210)), Queued);
    assert_eq!(driver.at(150).release(0), [2]);
    assert!(driver.shed.is_empty());
    assert_eq!(driver.at(160).release(2), [1]);
}

/// CALL-18: a newcomer to a full line is refused, and under pressure takes the place of the oldest.
#[test]
fn a_full_line_under_pressure_gives_up_the_oldest() {
    let mut driver = Driver::new(Bulkhead::limit(1).queue(2));
    assert_eq!(driver.enter_one(0), Admitted);
    assert_eq!(driver.enter(1, 1, at(200)), Queued);
    assert_eq!(driver.at(50).enter(2, 1, at(250)), Queued);
    assert_eq!(driver.at(99).enter(3, 1, at(299)), Refused(Refusal::Full));
    assert_eq!(driver.at(100).enter(3, 1, at(300)), Queued);
    assert_eq!(driver.shed, [1]);
    assert_eq!(driver.at(101).release(0), [3]);
}

/// CALL-18: a wait below 5 ms is no pressure, however little time there is; without a deadline none is.
#[test]
fn a_burst_is_no_pressure() {
    for (leave_by, asked) in [(at(6), 4), (Moment::NEVER, 1_000_000)] {
        let mut driver = Driver::new(Bulkhead::limit(1).queue(50));
        assert_eq!(driver.enter_one(0), Admitted);
        assert_eq!(driver.enter(1, 1, leave_by), Queued);
        assert_eq!(driver.enter(2, 1, leave_by), Queued);
        assert_eq!(driver.at(asked).release(0), [1]);
    }
}

/// CALL-18: a higher limit serves those who wait; a lower one is reached as permits come back.
#[test]
fn the_limit_changes_live() {
    let mut driver = Driver::new(Bulkhead::limit(2).queue(9));
    assert_eq!(driver.enter_one(0), Admitted);
    assert_eq!(driver.enter_one(1), Admitted);
    for id in 2..6 {
        assert_eq!(driver.enter_one(id), Queued);
    }
    assert_eq!(driver.set(Bulkhead::limit(4).queue(9)), [2, 3]);
    assert!(driver.set(Bulkhead::limit(2).queue(0)).is_empty());
    assert_eq!(driver.in_use(), 4, "nobody in progress is hurt");
    assert_eq!(driver.enter_one(9), Refused(Refusal::Full));
    assert!(driver.release(0).is_empty(), "swallowed");
    assert!(driver.release(1).is_empty(), "swallowed");
    assert_eq!(
        driver.release(2),
        [4],
        "back at the limit, and the places in the line were kept"
    );
    assert_eq!(driver.release(3), [5]);
    driver.release(4);
    driver.release(5);
    assert_eq!(driver.in_use(), 0);
    assert_eq!(driver.enter(6, 2, Moment::NEVER), Admitted);
    assert_eq!(driver.enter_one(7), Refused(Refusal::Full));
}

/// CALL-18: whoever waits and weighs more than a lowered limit is told, instead of waiting for nothing.
#[test]
fn who_became_too_heavy_is_shed() {
    let mut driver = Driver::new(Bulkhead::limit(3).queue(9));
    assert_eq!(driver.enter_one(0), Admitted);
    assert_eq!(driver.enter(1, 3, Moment::NEVER), Queued);
    assert_eq!(driver.enter_one(2), Queued);
    assert_eq!(driver.set(Bulkhead::limit(2).queue(9)), [2]);
    assert_eq!(driver.shed, [1]);
}

/// CALL-18: a gate that refused because holds were long notices soon that they are short again.
#[test]
fn a_hang_is_forgotten() {
    let mut driver = Driver::new(Bulkhead::limit(1).queue(50));
    driver.learn_hold(10_000);
    let mut millis = 10_000;
    let served = (0..100).find(|_| {
        assert_eq!(driver.enter_one(0), Admitted);
        let answer = driver.enter(1, 1, at(millis + 300));
        millis += 10;
        driver.at(millis).release(0);
        answer == Queued
    });
    assert!(served.is_some(), "still refused after 100 calls of 10 ms");
}

/// CALL-11: a waker is replaced in place and called in the order of the line; the gate never calls it itself.
#[test]
fn poll_refreshes_the_waker() {
    let gate: Gate<&str> = Gate::new(Bulkhead::limit(1).queue(5)).unwrap();
    let Entry::Admitted(held) = gate.enter(1, at(0), Moment::NEVER, || "unused") else {
        panic!()
    };
    let Entry::Queued(ticket, _) = gate.enter(1, at(0), Moment::NEVER, || "old") else {
        panic!()
    };
    assert!(matches!(
        gate.poll(&ticket, |waker| *waker = "new"),
        Turn::Waiting
    ));
    assert_eq!(
        gate.release(held, at(1)).into_iter().collect::<Vec<_>>(),
        ["new"]
    );
    assert!(matches!(
        gate.poll(&ticket, |_| panic!("nobody waits")),
        Turn::Admitted(_)
    ));
    assert!(matches!(
        gate.poll(&ticket, |_| panic!("nobody waits")),
        Turn::Shed
    ));
}

/// CALL-18: the numbers an operator reads.
#[test]
fn snapshot_tells_the_state() {
    let mut driver = Driver::new(Bulkhead::limit(2).queue(7));
    driver.learn_hold(20);
    driver.enter_one(0);
    assert_eq!(driver.gate.snapshot(at(20)).expected_wait, Duration::ZERO);
    driver.enter_one(1);
    driver.at(30).enter_one(2);
    let snapshot = driver.gate.snapshot(at(36));
    assert_eq!((snapshot.limit, snapshot.queue_limit), (2, 7));
    assert_eq!((snapshot.in_use, snapshot.waiting), (2, 1));
    assert_eq!(
        (snapshot.oldest_wait, snapshot.expected_wait),
        (ms(6), ms(20))
    );
}

/// CALL-18: options out of range are refused, with the name and the range.
#[test]
fn options_are_checked() {
    for (options, error) in [
        (Bulkhead::limit(0), "b.limit = 0: must be in 1..=1000000"),
        (
            Bulkhead::limit(1_000_001),
            "b.limit = 1000001: must be in 1..=1000000",
        ),
        (
            Bulkhead::limit(1).queue(1_000_001),
            "b.queue = 1000001: must be in 0..=1000000",
        ),
        (
            Bulkhead::limit(1).max_wait(Duration::ZERO),
            "b.max_wait = 0ns: must be in 1ms..=3600s",
        ),
    ] {
        assert_eq!(options.validate("b").unwrap_err().to_string(), error);
        assert!(Gate::<()>::new(options.clone()).is_err());
        assert!(
            Gate::<()>::new(Bulkhead::limit(1))
                .unwrap()
                .set(options, at(0))
                .is_err()
        );
    }
    let extremes = Bulkhead::limit(1_000_000)
        .queue(1_000_000)
        .max_wait(ms(3_600_000));
    assert!(extremes.validate("b").is_ok());
}

/// CALL-18: the same options come from a file; unknown ones are refused.
#[cfg(feature = "serde")]
#[test]
fn options_are_read_from_text() {
    let read = serde_json::from_str::<Bulkhead>;
    let text = r#"{"limit":20,"queue":10,"max_wait":"200ms"}"#;
    let options = Bulkhead::limit(20).queue(10).max_wait(ms(200));
    assert_eq!(read(text).unwrap(), options);
    assert_eq!(serde_json::to_string(&options).unwrap(), text);
    assert_eq!(read(r#"{"limit":20}"#).unwrap(), Bulkhead::limit(20));
    assert!(read(r#"{"limit":20,"maxwait":"1s"}"#).is_err());
    assert!(read(r#"{"queue":20}"#).is_err());
}

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
