use super::*;
use crate::saga::gate::Place;
use crate::saga::order::Call::{Charge, Confirm, Create, Delete, Refund, Release, Reserve, Revoke};

/// Effects in their order, each with the place in it of the one that it changes.
fn tally(effects: &[(Call, Option<i64>)]) -> Tally {
    let row = |(id, (call, of)): (i64, &(Call, Option<i64>))| Row {
        id,
        call: *call,
        order: 7,
        of: *of,
    };
    Tally::of(&(0..).zip(effects).map(row).collect::<Vec<_>>())
}

const PLACED: [(Call, Option<i64>); 4] = [
    (Create, None),
    (Reserve, None),
    (Charge, None),
    (Confirm, Some(0)),
];

fn and(more: &[(Call, Option<i64>)]) -> Tally {
    tally(&[&PLACED, more].concat())
}

#[test]
fn an_order_ends_placed_or_undone() {
    let undone = [(Refund, Some(2)), (Release, Some(1)), (Delete, Some(0))];
    for ended in [
        tally(&[]),
        tally(&PLACED),
        tally(&[&PLACED[..3], &undone].concat()),
        and(&[&[(Revoke, Some(3))], &undone[..]].concat()),
    ] {
        assert!(ended.is_ended(), "{ended:?}");
        assert!(!ended.is_stuck() && !ended.is_refunded_though_confirmed());
        let off = (ended.orphans(), ended.twice(), ended.too_much(100));
        assert_eq!(off, (0, 0, 0), "{ended:?}");
    }
}

#[test]
fn what_is_left_over_is_counted() {
    let cases = [
        // stuck, orphans, twice, too much
        (tally(&PLACED[..1]), (true, 1, 0, 0)),
        (tally(&PLACED[..2]), (true, 2, 0, 0)),
        (tally(&PLACED[..3]), (true, 3, 0, 100)),
        // Deleted, and the stock still held.
        (
            tally(&[(Create, None), (Reserve, None), (Delete, Some(0))]),
            (true, 1, 0, 0),
        ),
        // Asked for again, and charged again.
        (and(&PLACED[..3]), (false, 3, 1, 100)),
        (and(&[(Charge, None)]), (false, 1, 1, 100)),
        (
            and(&[
                (Create, None),
                (Reserve, None),
                (Charge, None),
                (Confirm, Some(4)),
            ]),
            (false, 0, 1, 100),
        ),
        // Refunded twice.
        (
            tally(&[(Charge, None), (Refund, Some(0)), (Refund, Some(0))]),
            (true, 0, 1, -100),
        ),
    ];
    for (tally, told) in cases {
        let off = (
            tally.is_stuck(),
            tally.orphans(),
            tally.twice(),
            tally.too_much(100),
        );
        assert_eq!(off, told, "{tally:?}");
        assert!(!tally.is_ended(), "{tally:?}");
        assert!(!tally.is_refunded_though_confirmed(), "{tally:?}");
    }
}

#[test]
fn a_refund_of_a_confirmed_order_is_seen() {
    let given_away = and(&[(Refund, Some(2))]);
    assert!(given_away.is_refunded_though_confirmed() && !given_away.is_ended());
    assert_eq!(given_away.too_much(100), -100);
    // Undone the first time, confirmed the second.
    let first = [
        (Create, None),
        (Reserve, None),
        (Charge, None),
        (Refund, Some(2)),
        (Release, Some(1)),
        (Delete, Some(0)),
    ];
    let second = [
        (Create, None),
        (Reserve, None),
        (Charge, None),
        (Confirm, Some(6)),
    ];
    let asked_again = tally(&[&first[..], &second].concat());
    assert!(asked_again.is_ended() && !asked_again.is_refunded_though_confirmed());
}

#[test]
fn a_customer_may_be_misled() {
    let known = |told, tally, flow| Known {
        order: Order {
            number: 7,
            cents: 100,
            flow,
        },
        point: Point {
            order: 7,
            call: Create,
            place: Place::Done,
        },
        told,
        tally,
    };
    let (placed, nothing) = (tally(&PLACED), tally(&[]));
    for (told, tally, is_misled) in [
        (Some(Told::Placed), placed, false),
        (Some(Told::NotPlaced), nothing, false),
        (Some(Told::Placed), nothing, true),
        (Some(Told::NotPlaced), placed, true),
        (Some(Told::Trouble), placed, true),
        (None, nothing, true),
    ] {
        assert_eq!(known(told, tally, Flow::Good).is_misled(), is_misled);
    }
    assert!(known(None, nothing, Flow::Good).is_missed());
    assert!(!known(None, nothing, Flow::NotPaid).is_missed());
    assert!(!known(None, placed, Flow::Good).is_missed());
}
