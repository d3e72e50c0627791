use super::super::plan::Planned;
use super::*;
use crate::experiment::verdict::{Verdict, judge};
use crate::saga::books::Row;
use crate::saga::customer::Told;
use crate::saga::find;
use crate::saga::gate::{Place, Point};
use crate::saga::order::Call::{Charge, Confirm, Create, Refund, Reserve};
use crate::saga::order::{Flow, Order};

type Effects = Vec<(Call, Option<i64>)>;

fn placed() -> Effects {
    vec![
        (Create, None),
        (Reserve, None),
        (Charge, None),
        (Confirm, Some(0)),
    ]
}

fn pending() -> Effects {
    placed()[..3].to_vec()
}

fn given_away() -> Effects {
    [placed(), vec![(Refund, Some(2))]].concat()
}

fn twice() -> Effects {
    [placed(), pending()].concat()
}

/// A world whose orders have these effects.
fn world(arm: &str, victim: Process, orders: &[Effects]) -> Ended {
    let mut rows = Vec::new();
    for (order, effects) in (0..).zip(orders) {
        let first = order * 100;
        for (id, (call, of)) in (first..).zip(effects) {
            rows.push(Row {
                id,
                call: *call,
                order,
                of: of.map(|of| first + of),
            });
        }
    }
    let planned = |number| Planned {
        order: Order {
            number,
            cents: 250,
            flow: Flow::Good,
        },
        point: Point {
            order: number,
            call: Create,
            place: Place::Done,
        },
    };
    let told = |number| (planned(number), Some(Told::Placed));
    Ended {
        arm: find(arm).unwrap(),
        victim,
        orders: (0..orders.len() as u64).map(told).collect(),
        rows,
        to_reach: orders.len(),
        reached: orders.len(),
        killed: Some((Duration::from_secs(1), Duration::from_secs(2))),
    }
}

fn verdict(backstay: &[Effects], change: impl Fn(&mut Vec<Ended>)) -> (Verdict, Vec<String>) {
    let mut worlds = Vec::new();
    for arm in ARMS {
        for victim in Process::ALL {
            let broken = [pending(), given_away(), twice()];
            let orders = if arm.name == BACKSTAY {
                backstay
            } else {
                &broken
            };
            worlds.push(world(arm.name, victim, orders));
        }
    }
    change(&mut worlds);
    let history = history(&worlds, Instant::now(), Duration::from_secs(30));
    let (verdict, reasons, _) = judge(&rules(), &history, None);
    (verdict, reasons)
}

/// The points that hurt are named.
#[test]
fn what_did_not_end_is_told() {
    let worlds = [
        world(ARTICLE, Process::Shop, &[pending()]),
        world(BACKSTAY, Process::Bank, &[placed(), pending()]),
    ];
    let told = not_ended(&worlds);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("bank killed, Good, "), "{told:?}");
}

#[tokio::test]
async fn a_run_without_fault_passes() {
    let (verdict, reasons) = verdict(&[placed(), placed()], |_| {});
    assert_eq!(verdict, Verdict::Pass, "{reasons:?}");
}

#[tokio::test]
async fn each_fault_of_ours_fails() {
    let cases = [
        (pending(), "backstay leaves no order stuck"),
        (pending(), "backstay leaves nothing behind"),
        (pending(), "backstay carries out every order"),
        (pending(), "backstay tells every customer"),
        (pending(), "backstay's charges less its refunds"),
        (given_away(), "backstay refunds no confirmed order"),
        (given_away(), "backstay loses no money"),
        (twice(), "backstay charges and refunds nobody twice"),
        (twice(), "backstay ends every order"),
    ];
    for (effects, reason) in cases {
        let (verdict, reasons) = verdict(&[placed(), effects], |_| {});
        assert_eq!(verdict, Verdict::Fail);
        let is_told = reasons.iter().any(|told| told.starts_with(reason));
        assert!(is_told, "{reason}: {reasons:?}");
    }
}

#[tokio::test]
async fn a_run_that_proves_nothing_is_invalid() {
    type Change = fn(&mut Vec<Ended>);
    let cases: [(Change, &str); 3] = [
        (
            |worlds| worlds[0].reached -= 1,
            "every order is at its point",
        ),
        (|worlds| worlds[0].killed = None, "each process is killed"),
        (
            |worlds| {
                let article = worlds.iter_mut().filter(|world| world.arm.name == ARTICLE);
                article.for_each(|world| world.rows.clear());
            },
            "article leaves orders stuck",
        ),
    ];
    for (change, reason) in cases {
        let (verdict, reasons) = verdict(&[placed()], change);
        assert_eq!(verdict, Verdict::Invalid);
        let is_told = reasons.iter().any(|told| told.starts_with(reason));
        assert!(is_told, "{reason}: {reasons:?}");
    }
}
