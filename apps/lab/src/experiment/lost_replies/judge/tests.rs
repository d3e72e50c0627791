use http::StatusCode;

use super::super::world::Order;
use super::*;
use crate::experiment::verdict::{Verdict, judge};
use crate::replies::customer::{Said, Told};
use crate::replies::proxy::{Answered, End, Exchange, Loss};
use crate::replies::server::Row;
use crate::replies::{Arm, find};

fn answered(loss: Option<Loss>, replayed: bool) -> End {
    End::Answered(Answered {
        at: Moment::from_nanos(1),
        status: StatusCode::CREATED,
        replayed,
        loss,
    })
}

const LOST_REPLY: Option<Loss> = Some(Loss::Closed);

/// One order: what its customer was told, the receipts of its rows, and its requests.
#[derive(Clone)]
struct Story(Told, Vec<i64>, Vec<End>);

fn told(arm: Arm, stories: &[Story]) -> Ended {
    let mut ended = Ended {
        arm,
        orders: Vec::new(),
        rows: Vec::new(),
        exchanges: Vec::new(),
        lag_p99: Some(Duration::from_millis(1)),
    };
    for (number, Story(told, receipts, ends)) in (0_u64..).zip(stories) {
        let (due, told) = (Duration::from_secs(1), Some(*told));
        ended.orders.push(Order { number, due, told });
        let order = number.cast_signed();
        let row = |receipt: &i64| Row {
            order,
            receipt: *receipt,
        };
        ended.rows.extend(receipts.iter().map(row));
        let exchange = |end: &End| Exchange {
            order: number,
            end: *end,
        };
        ended.exchanges.extend(ends.iter().map(exchange));
    }
    ended
}

fn replayed() -> Story {
    let ends = vec![answered(LOST_REPLY, false), answered(None, true)];
    Story(Told::Done(Some(7)), vec![7], ends)
}

fn executed_again() -> Story {
    let ends = vec![answered(LOST_REPLY, false), answered(None, false)];
    Story(Told::Done(Some(8)), vec![7, 8], ends)
}

fn in_the_dark() -> Story {
    let ends = vec![answered(LOST_REPLY, false)];
    Story(Told::Failed(Said::Perhaps), vec![7], ends)
}

fn verdict(backstay: &[Story]) -> (Verdict, Vec<String>) {
    let many = |story: Story| vec![story; 60];
    let arms: Vec<_> = ARMS
        .into_iter()
        .map(|arm| match arm.name {
            BACKSTAY => told(arm, backstay),
            NONE => told(arm, &many(in_the_dark())),
            _ => told(arm, &many(executed_again())),
        })
        .collect();
    let mut facts = Facts::new(Instant::now());
    facts.killed = 4;
    facts.killed_at = Some(Duration::from_secs(15));
    facts.back_at = Some(Duration::from_millis(15_020));
    let history = facts.history(&arms, Duration::from_secs(30));
    let (verdict, reasons, _) = judge(&rules(), &history, None);
    (verdict, reasons)
}

#[test]
fn numbers() {
    let cases: [(Story, [usize; 9]); 8] = [
        // twice, missing, unknown, misled, gave up, undone, asked, replays, by kill
        (replayed(), [0, 0, 0, 0, 0, 0, 1, 1, 0]),
        (executed_again(), [1, 0, 0, 0, 0, 0, 1, 0, 0]),
        (in_the_dark(), [0, 0, 1, 0, 1, 0, 0, 0, 0]),
        (
            Story(Told::Done(Some(9)), vec![7], vec![answered(None, false)]),
            [0, 1, 0, 0, 0, 0, 0, 0, 0],
        ),
        (
            Story(Told::Failed(Said::Nothing), vec![7], vec![End::CutOff]),
            [0, 0, 1, 1, 1, 0, 0, 0, 0],
        ),
        (
            Story(Told::Failed(Said::Nothing), vec![], vec![End::CutOff]),
            [0, 0, 0, 0, 0, 1, 0, 0, 0],
        ),
        (
            Story(
                Told::Failed(Said::Perhaps),
                vec![7],
                vec![
                    answered(LOST_REPLY, false),
                    answered(LOST_REPLY, true),
                    answered(LOST_REPLY, true),
                ],
            ),
            [0, 0, 1, 0, 0, 0, 2, 2, 0],
        ),
        (
            Story(
                Told::Done(Some(7)),
                vec![7],
                vec![End::CutOff, End::CutOff, answered(None, true)],
            ),
            [0, 0, 0, 0, 0, 0, 0, 1, 1],
        ),
    ];
    for (nth, (story, numbers)) in cases.into_iter().enumerate() {
        let counts = Counts::of(&told(ARMS[3], &[story]));
        let counted = [
            counts.twice.len(),
            counts.missing,
            counts.unknown.len(),
            counts.misled,
            counts.gave_up,
            counts.undone,
            counts.asked,
            counts.replays.len(),
            counts.by_kill,
        ];
        assert_eq!(counted, numbers, "case {nth}");
    }
}

#[test]
fn a_reply_lost_before_the_kill_is_no_reply_that_the_kill_cut_off() {
    let ends = vec![
        answered(LOST_REPLY, false),
        End::CutOff,
        answered(None, true),
    ];
    let story = Story(Told::Done(Some(7)), vec![7], ends);
    let counts = Counts::of(&told(ARMS[3], &[story]));
    assert_eq!(
        (counts.asked, counts.replays.len(), counts.by_kill),
        (1, 1, 0)
    );
}

#[test]
fn verdicts() {
    let well = vec![replayed(); 60];
    let with = |story: Story| [&well[..], &[story]].concat();
    let (passed, reasons) = verdict(&well);
    assert_eq!(passed, Verdict::Pass, "{reasons:?}");
    for broken in [executed_again(), in_the_dark()] {
        assert_eq!(verdict(&with(broken)).0, Verdict::Fail);
    }
    let forgotten = Story(Told::Done(Some(7)), vec![7], executed_again().2);
    let (failed, reasons) = verdict(&with(forgotten));
    assert_eq!(failed, Verdict::Fail);
    assert!(reasons[0].ends_with("60 of 61"), "{reasons:?}");
    let (void, reasons) = verdict(&well[..49]);
    assert_eq!(void, Verdict::Invalid, "few were lost: {reasons:?}");
}

#[test]
fn arms_are_found_by_name() {
    for arm in ARMS {
        assert_eq!(find(arm.name), Some(arm));
    }
}
