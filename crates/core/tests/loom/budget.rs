use backstay_core::Moment;
use backstay_core::budget::{BudgetOptions, Extra, Ledger, Token};
use loom::sync::Arc;
use loom::thread;

use crate::model;

const NOW: Moment = Moment::from_nanos(1_000_000_000);

/// Every call earns one extra attempt.
fn ledger(reserve_per_s: u32) -> Arc<Ledger> {
    let options = BudgetOptions::default().ratio(1.0);
    Arc::new(Ledger::new(options.reserve_per_s(reserve_per_s)).expect("options in range"))
}

fn draw(ledger: &Arc<Ledger>, extra: Extra) -> thread::JoinHandle<Option<Token>> {
    let ledger = Arc::clone(ledger);
    thread::spawn(move || ledger.draw(extra, NOW))
}

/// CALL-14: two draws at once with room for one: exactly one is granted.
#[test]
fn two_draws_with_room_for_one() {
    model(|| {
        let ledger = ledger(0);
        ledger.on_call(NOW);
        let other = draw(&ledger, Extra::Hedge);
        let mine = ledger.draw(Extra::Hedge, NOW);
        let others = other.join().expect("draws");
        assert!(mine.is_some() != others.is_some());
    });
}

/// CALL-14: the same for the last token of the reserve.
#[test]
fn two_draws_on_the_reserve() {
    model(|| {
        let ledger = ledger(1);
        let other = draw(&ledger, Extra::Retry);
        let mine = ledger.draw(Extra::Retry, NOW);
        let others = other.join().expect("draws");
        assert!(mine.is_some() != others.is_some());
    });
}

/// CALL-14: a call counted during a draw earns one token, before or after, and never two.
#[test]
fn a_call_during_a_draw() {
    model(|| {
        let ledger = ledger(0);
        let caller = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.on_call(NOW))
        };
        let during = ledger.draw(Extra::Hedge, NOW);
        caller.join().expect("counts");
        let after = ledger.draw(Extra::Hedge, NOW);
        assert!(during.is_some() != after.is_some());
    });
}

/// CALL-14: two calls counted at once, by threads of different stripes, are both counted.
#[test]
fn calls_of_two_threads() {
    model(|| {
        let ledger = ledger(0);
        let other = {
            let ledger = Arc::clone(&ledger);
            thread::spawn(move || ledger.on_call(NOW))
        };
        ledger.on_call(NOW);
        other.join().expect("counts");
        assert_eq!(ledger.snapshot(NOW).available, 2);
    });
}

/// CALL-14: a token on its way from held to spent is never free for another draw.
#[test]
fn settling_during_a_draw() {
    model(|| {
        let ledger = ledger(0);
        ledger.on_call(NOW);
        let token = ledger.draw(Extra::Hedge, NOW).expect("room for one");
        let other = draw(&ledger, Extra::Hedge);
        ledger.settle(token, NOW);
        assert!(other.join().expect("draws").is_none());
    });
}

/// CALL-14: a refunded token can be drawn once more, by whoever comes.
#[test]
fn refunding_during_a_draw() {
    model(|| {
        let ledger = ledger(0);
        ledger.on_call(NOW);
        let token = ledger.draw(Extra::Hedge, NOW).expect("room for one");
        let other = draw(&ledger, Extra::Hedge);
        ledger.refund(token, NOW);
        let mine = ledger.draw(Extra::Hedge, NOW);
        let others = other.join().expect("draws");
        assert!(mine.is_some() != others.is_some());
    });
}
