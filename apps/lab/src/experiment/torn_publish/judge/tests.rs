use super::super::plan::Planned;
use super::super::world::Setting;
use super::*;
use crate::experiment::verdict::{Verdict, judge};
use crate::torn::find;
use crate::torn::gate::{Place, Point};
use crate::torn::order::{Asked, Change, Order, Row, Side};

/// An order that is confirmed, as the read side has it.
#[derive(Clone, Copy)]
enum Has {
    It,
    Nothing,
    Placed,
    Twice,
}

fn row(number: i64, last: Change) -> Row {
    let order = Order {
        number,
        customer: number,
        cents: 250,
    };
    Row::new(order, last, 0)
}

fn world(arm: &str, victim: Process, all: &[Has]) -> Ended {
    let numbered = || (0..).zip(all);
    let write = Side::of(numbered().map(|(number, _)| row(number, Change::Confirm)));
    let read = Side::of(numbered().filter_map(|(number, has)| {
        let confirmed = row(number, Change::Confirm);
        match has {
            Has::It => Some(confirmed),
            Has::Nothing => None,
            Has::Placed => Some(row(number, Change::Place)),
            Has::Twice => Some(Row {
                changes: confirmed.changes + 1,
                ..confirmed
            }),
        }
    }));
    let planned = |(number, _)| Planned {
        order: row(number, Change::Confirm).order,
        point: Point {
            order: number,
            change: Change::Confirm,
            place: Place::Written,
        },
    };
    let asked = |(number, has): (i64, &Has)| {
        let asked = Asked {
            order: row(number, Change::Confirm).order,
            change: Change::Confirm,
        };
        let read = match has {
            Has::Nothing => Read::Unseen,
            _ => Read::NotYet,
        };
        (asked, read)
    };
    let is_equal = write == read;
    Ended {
        setting: Setting {
            arm: find(arm).unwrap(),
            victim,
        },
        plan: numbered().map(planned).collect(),
        reads: numbered().map(asked).collect(),
        write,
        read,
        reached: all.len(),
        killed: Some((Duration::from_secs(1), Duration::from_secs(2))),
        equal_after: is_equal.then_some(Duration::from_secs(3)),
    }
}

fn verdict(backstay: &[Has], change: impl Fn(&mut Vec<Ended>)) -> (Verdict, Vec<String>) {
    let mut worlds = Vec::new();
    for arm in ARMS {
        for victim in Process::ALL {
            let broken = [Has::It, Has::Nothing, Has::Placed, Has::Twice];
            let orders = if arm.name == BACKSTAY {
                backstay
            } else {
                &broken
            };
            worlds.push(world(arm.name, victim, orders));
        }
    }
    change(&mut worlds);
    let history = history(&worlds, Duration::from_secs(30));
    let (verdict, reasons, _) = judge(&rules(), &history, None);
    (verdict, reasons)
}

fn is_told(reasons: &[String], reason: &str) -> bool {
    reasons.iter().any(|told| told.starts_with(reason))
}

fn ours(worlds: &mut [Ended]) -> &mut Ended {
    let mut worlds = worlds.iter_mut();
    worlds
        .find(|world| world.setting.arm.name == BACKSTAY)
        .unwrap()
}

#[test]
fn a_run_without_fault_passes() {
    let (verdict, reasons) = verdict(&[Has::It, Has::It], |_| {});
    assert_eq!(verdict, Verdict::Pass, "{reasons:?}");
    let equal = "backstay's sides have equal checksums 20 s after a process is back: 2 of 2";
    assert!(is_told(&reasons, equal), "{reasons:?}");
}

#[test]
fn each_fault_of_ours_fails() {
    let cases = [
        (Has::Nothing, "backstay misses no order"),
        (Has::Nothing, "backstay has every customer's sum"),
        (Has::Nothing, "backstay shows what was just written"),
        (Has::Placed, "backstay shows no order as it was"),
        (Has::Twice, "backstay counts nothing twice"),
        (Has::Twice, "backstay's sides have equal checksums"),
    ];
    for (has, reason) in cases {
        let (verdict, reasons) = verdict(&[Has::It, has], |_| {});
        assert_eq!(verdict, Verdict::Fail);
        assert!(is_told(&reasons, reason), "{reason}: {reasons:?}");
    }
}

#[test]
fn faults_that_both_sides_share_fail_as_well() {
    type Change = fn(&mut Ended);
    let cases: [(Change, &str); 3] = [
        (
            |world| {
                world.write = Side::default();
                world.read = Side::default();
            },
            "backstay has written what",
        ),
        (
            |world| {
                let row = world.read.orders.get_mut(&0).unwrap();
                row.order.cents += 1;
            },
            "backstay shows no order as it never was",
        ),
        (
            // Equal when all is dead, and not when it was looked at.
            |world| world.equal_after = None,
            "backstay's sides have equal checksums",
        ),
    ];
    for (change, reason) in cases {
        let (verdict, reasons) = verdict(&[Has::It], |worlds| change(ours(worlds)));
        assert_eq!(verdict, Verdict::Fail);
        assert!(is_told(&reasons, reason), "{reason}: {reasons:?}");
    }
}

#[test]
fn a_run_that_proves_nothing_is_invalid() {
    type Change = fn(&mut Vec<Ended>);
    fn heal(worlds: &mut [Ended], arm: &str) {
        let healed = worlds
            .iter_mut()
            .filter(|world| world.setting.arm.name == arm);
        healed.for_each(|world| world.read = world.write.clone());
    }
    let cases: [(Change, &str); 6] = [
        (
            |worlds| worlds[0].reached -= 1,
            "every order is at its point",
        ),
        (|worlds| worlds[0].killed = None, "in each world a process"),
        (|worlds| heal(worlds, NONE), "none misses orders"),
        (|worlds| heal(worlds, ARTICLE), "article misses orders"),
        (
            |worlds| heal(worlds, NO_INBOX),
            "noinbox counts changes twice",
        ),
        (Vec::clear, "every order is at its point"),
    ];
    for (change, reason) in cases {
        let (verdict, reasons) = verdict(&[Has::It], change);
        assert_eq!(verdict, Verdict::Invalid);
        assert!(is_told(&reasons, reason), "{reason}: {reasons:?}");
    }
}

/// The points that hurt are named.
#[test]
fn what_is_not_shown_is_told() {
    let worlds = [
        world(ARTICLE, Process::Writer, &[Has::Nothing]),
        world(BACKSTAY, Process::Reader, &[Has::It, Has::Placed]),
    ];
    let told = not_equal(&worlds);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("reader killed, "), "{told:?}");
}
