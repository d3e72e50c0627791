use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::ledger::{Extra, Ledger, Source, Token};
use super::options::BudgetOptions;
use crate::Moment;

fn ledger(ratio: f64, reserve: u32) -> Ledger {
    Ledger::new(BudgetOptions::default().ratio(ratio).reserve_per_s(reserve))
        .expect("options in range")
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

fn calls(ledger: &Ledger, count: u64, now: Moment) {
    (0..count).for_each(|_| ledger.on_call(now));
}

fn draw_all(ledger: &Ledger, extra: Extra, now: Moment) -> Vec<Token> {
    std::iter::from_fn(|| ledger.draw(extra, now)).collect()
}

/// CALL-14: ten calls earn one extra attempt, nine none.
#[test]
fn the_ratio_is_exact() {
    let ledger = ledger(0.1, 0);
    calls(&ledger, 9, at(0));
    assert!(ledger.draw(Extra::Retry, at(0)).is_none());
    calls(&ledger, 1, at(0));
    assert_eq!(draw_all(&ledger, Extra::Retry, at(0)).len(), 1);
}

/// CALL-14: a ratio that does not divide evenly earns no more than it says.
#[test]
fn ratios_are_not_rounded_up() {
    for (ratio, hundred_calls_earn) in [
        (0.6, 60),
        (0.057, 5),
        (0.0009, 0),
        (1.5, 150),
        (10.0, 1_000),
    ] {
        let ledger = ledger(ratio, 0);
        calls(&ledger, 100, at(0));
        let drawn = draw_all(&ledger, Extra::Hedge, at(0)).len();
        assert_eq!(drawn, hundred_calls_earn, "{ratio}");
    }
}

/// CALL-14: what calls earned is gone ten seconds later, and so is what was spent.
#[test]
fn tokens_expire_in_ten_seconds() {
    let ledger = ledger(0.5, 0);
    calls(&ledger, 4, at(999));
    let token = ledger.draw(Extra::Retry, at(9_999)).unwrap();
    ledger.settle(token, at(9_999));
    assert_eq!(ledger.snapshot(at(9_999)).available, 1);
    assert_eq!(ledger.snapshot(at(10_000)).available, 0);
    calls(&ledger, 4, at(18_000));
    assert_eq!(ledger.snapshot(at(18_000)).available, 1);
    assert_eq!(ledger.snapshot(at(19_000)).available, 2);
}

/// CALL-14: the reserve serves retries only, and is not saved up.
#[test]
fn the_reserve_is_for_retries_of_this_second() {
    let ledger = ledger(0.1, 3);
    assert!(ledger.draw(Extra::Hedge, at(0)).is_none());
    for second in [0, 1, 60] {
        let tokens = draw_all(&ledger, Extra::Retry, at(second * 1_000));
        assert_eq!(tokens.len(), 3);
        for token in tokens {
            ledger.settle(token, at(second * 1_000));
        }
    }
}

/// CALL-14: a refund within the second makes the draw undone; later the reserve of that second is over.
#[test]
fn refunds_undo_draws() {
    let ledger = ledger(0.1, 1);
    let token = ledger.draw(Extra::Retry, at(0)).unwrap();
    ledger.refund(token, at(999));
    let token = ledger.draw(Extra::Retry, at(999)).unwrap();
    let next = ledger.draw(Extra::Retry, at(1_000)).unwrap();
    ledger.refund(token, at(1_000));
    assert!(ledger.draw(Extra::Retry, at(1_000)).is_none());
    calls(&ledger, 10, at(1_000));
    let earned = ledger.draw(Extra::Retry, at(1_000)).unwrap();
    ledger.refund(earned, at(5_000));
    assert_eq!(ledger.snapshot(at(5_000)).available, 2);
    ledger.settle(next, at(5_000));
}

/// CALL-14: attempts that hang keep their tokens, so that they can't pile up.
#[test]
fn hanging_attempts_stay_on_the_books() {
    let ledger = ledger(0.1, 2);
    let mut out = Vec::new();
    for second in 0..100 {
        let now = at(second * 1_000);
        calls(&ledger, 10, now);
        out.extend(draw_all(&ledger, Extra::Retry, now));
        assert!(out.len() <= 10 + 2 * 10, "{} after {second} s", out.len());
    }
    assert_eq!(ledger.snapshot(at(99_000)).extra_in_progress, 30);
}

/// CALL-14: an older `now` is taken for the newest one seen.
#[test]
fn time_never_goes_back() {
    let ledger = ledger(0.1, 1);
    assert_eq!(draw_all(&ledger, Extra::Retry, at(5_000)).len(), 1);
    assert!(ledger.draw(Extra::Retry, at(4_000)).is_none());
    assert!(ledger.draw(Extra::Retry, at(6_000)).is_some());
    assert_eq!(ledger.snapshot(Moment::NEVER).extra_in_progress, 2);
}

/// CALL-14: new options count from the next draw, with calls and tokens kept.
#[test]
fn options_change_live() {
    let ledger = ledger(0.1, 0);
    calls(&ledger, 10, at(0));
    let _held = ledger.draw(Extra::Hedge, at(0)).unwrap();
    ledger.set(BudgetOptions::default().ratio(0.3)).unwrap();
    assert_eq!(draw_all(&ledger, Extra::Hedge, at(0)).len(), 2);
    for bad in [-0.1, 10.1, f64::NAN, f64::INFINITY] {
        let error = ledger.set(BudgetOptions::default().ratio(bad)).unwrap_err();
        assert_eq!(error.field, "budget.ratio");
    }
    assert_eq!(ledger.options(), BudgetOptions::default().ratio(0.3));
}

fn earned(token: &Token) -> bool {
    token.source == Source::Earned
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Calls(u64),
    Draw(Extra),
    Settle(usize),
    Refund(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..30).prop_map(Step::Calls),
        4 => prop_oneof![Just(Extra::Retry), Just(Extra::Hedge)].prop_map(Step::Draw),
        2 => any::<usize>().prop_map(Step::Settle),
        1 => any::<usize>().prop_map(Step::Refund),
    ]
}

proptest! {
    /// CALL-14: extra <= ratio * calls + reserve * seconds over the whole run, and the earned part in every
    /// window that ends with a draw, with late and early clocks.
    #[test]
    fn the_bound_holds(
        ratio_milli in prop_oneof![0u64..1_000, 1_000u64..10_001],
        reserve in 0u32..4,
        steps in prop::collection::vec((any_step(), prop_oneof![5 => Just(0u64), 2 => 0u64..3_000, 1 => 0u64..25_000], 0u64..2_500), 1..400),
    ) {
        let ledger = ledger(ratio_milli as f64 / 1_000.0, reserve);
        let (mut clock, mut newest) = (0, 0);
        let mut calls_by_tick = Vec::new();
        // Tick drawn and whether earned, of every draw that was not refunded.
        let mut drawn: Vec<(u64, bool)> = Vec::new();
        let mut out: Vec<Token> = Vec::new();
        for (step, passed, late) in steps {
            clock += passed;
            let now = clock.saturating_sub(late);
            match step {
                Step::Calls(count) => {
                    calls(&ledger, count, at(now));
                    calls_by_tick.push((now / 1_000, count));
                    continue;
                }
                Step::Draw(extra) => {
                    if let Some(token) = ledger.draw(extra, at(now)) {
                        drawn.push((newest.max(now / 1_000), earned(&token)));
                        out.push(token);
                    }
                }
                Step::Settle(which) if !out.is_empty() => {
                    ledger.settle(out.swap_remove(which % out.len()), at(now));
                }
                Step::Refund(which) if !out.is_empty() => {
                    let token = out.swap_remove(which % out.len());
                    let same = (token.tick, earned(&token));
                    let index = drawn.iter().position(|draw| *draw == same).unwrap();
                    drawn.swap_remove(index);
                    ledger.refund(token, at(now));
                }
                Step::Settle(_) | Step::Refund(_) => continue,
            }
            newest = newest.max(now / 1_000);
            let within_pay = |ticks: std::ops::RangeInclusive<u64>| {
                let extra = drawn.iter().filter(|(tick, earned)| *earned && ticks.contains(tick));
                let calls = calls_by_tick.iter().filter(|(tick, _)| ticks.contains(tick));
                extra.count() as u64 * 1_000 <= calls.map(|(_, n)| n).sum::<u64>() * ratio_milli
            };
            prop_assert!(within_pay(0..=u64::MAX));
            if matches!(step, Step::Draw(_)) && drawn.contains(&(newest, true)) {
                prop_assert!(within_pay(newest.saturating_sub(9)..=newest));
            }
            let reserved = drawn.iter().filter(|(tick, earned)| !earned && *tick == newest).count();
            prop_assert!(reserved <= reserve as usize);
        }
        let paid = calls_by_tick.iter().map(|(_, n)| n).sum::<u64>() * ratio_milli;
        let extra = drawn.len() as u64 * 1_000;
        prop_assert!(extra <= paid + u64::from(reserve) * 1_000 * (newest + 1));
    }
}

/// CALL-14: the same bound with threads that count, draw and settle at once.
#[test]
fn the_bound_holds_between_threads() {
    let (ledger, clock, extra) = (ledger(0.1, 2), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (ledger, clock, extra) = (&ledger, &clock, &extra);
            scope.spawn(move || {
                let mut held = None;
                for round in 0..5_000 {
                    let now = at(clock.fetch_add(1, Ordering::Relaxed));
                    ledger.on_call(now);
                    let kind = if round % 3 == 0 {
                        Extra::Hedge
                    } else {
                        Extra::Retry
                    };
                    let token = ledger.draw(kind, now);
                    extra.fetch_add(u64::from(token.is_some()), Ordering::Relaxed);
                    if let Some(before) = token.and_then(|token| held.replace(token)) {
                        ledger.settle(before, now);
                    }
                }
                if let Some(last) = held {
                    ledger.settle(last, at(0));
                }
            });
        }
    });
    let extra = extra.into_inner();
    assert!(extra <= 20_000 / 10 + 2 * 20, "{extra}");
    assert!(extra > 1_900, "a budget that gives too little: {extra}");
}

#[cfg(feature = "serde")]
#[test]
fn options_are_read_from_a_file() {
    let read = toml::from_str::<BudgetOptions>;
    let expected = BudgetOptions::default().ratio(0.25);
    assert_eq!(read("ratio = 0.25"), Ok(expected));
    assert!(read("rate = 0.25").is_err());
}
