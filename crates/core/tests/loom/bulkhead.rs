//! The gate's promises under every interleaving: the limit holds, and nobody is left asleep.

use backstay_core::Moment;
use backstay_core::bulkhead::{Bulkhead, Entry, Gate, Permit, Ticket, Turn, Wakes};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::model;

const NOW: Moment = Moment::from_nanos(0);

fn gate(options: Bulkhead) -> Arc<Gate<()>> {
    Arc::new(Gate::new(options).unwrap())
}

fn enter(gate: &Gate<()>, weight: u32) -> Entry<()> {
    gate.enter(weight, NOW, Moment::NEVER, || ())
}

fn admitted(gate: &Gate<()>, weight: u32) -> Permit {
    match enter(gate, weight) {
        Entry::Admitted(permit) => permit,
        other => panic!("{other:?}"),
    }
}

fn queued(gate: &Gate<()>) -> Ticket {
    match enter(gate, 1) {
        Entry::Queued(ticket, _) => ticket,
        other => panic!("{other:?}"),
    }
}

fn turn(gate: &Gate<()>, ticket: &Ticket) -> Permit {
    match gate.poll(ticket, |()| ()) {
        Turn::Admitted(permit) => permit,
        other => panic!("asleep for ever: {other:?}"),
    }
}

fn release(gate: &Gate<()>, permit: Permit) -> usize {
    woken(gate.release(permit, NOW))
}

fn woken(wakes: Wakes<()>) -> usize {
    wakes.into_iter().count()
}

/// CALL-18: two threads, one permit: never two inside, and the permit is there when both are done.
#[test]
fn never_above_the_limit() {
    model(|| {
        let gate = gate(Bulkhead::limit(1));
        let inside = Arc::new(AtomicUsize::new(0));
        let visit = |gate: &Gate<()>, inside: &AtomicUsize| {
            if let Entry::Admitted(permit) = enter(gate, 1) {
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                inside.fetch_sub(1, Ordering::SeqCst);
                release(gate, permit);
            }
        };
        let other = thread::spawn({
            let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
            move || visit(&gate, &inside)
        });
        visit(&gate, &inside);
        other.join().unwrap();
        let _ = admitted(&gate, 1);
    });
}

/// CALL-18: a gate that is never full refuses nobody, although its permits move between stripes.
#[test]
fn refuses_nobody_while_a_permit_is_free() {
    model(|| {
        let gate = gate(Bulkhead::limit(2));
        // All permits come to lie in this thread's stripe; the other thread takes one to its own.
        let both = admitted(&gate, 1);
        let other = admitted(&gate, 1);
        release(&gate, both);
        release(&gate, other);
        let other = thread::spawn({
            let gate = Arc::clone(&gate);
            move || {
                let permit = admitted(&gate, 1);
                release(&gate, permit)
            }
        });
        let first = admitted(&gate, 1);
        release(&gate, first);
        let second = admitted(&gate, 1);
        other.join().unwrap();
        release(&gate, second);
        let _ = admitted(&gate, 2);
    });
}

/// CALL-18: a permit that comes back while somebody goes to wait is seen by one of the two.
#[test]
fn no_wake_up_is_lost() {
    for weight in [1, 2] {
        model(move || {
            let gate = gate(Bulkhead::limit(weight).queue(1));
            let held = admitted(&gate, 1);
            let giver = thread::spawn({
                let gate = Arc::clone(&gate);
                move || release(&gate, held)
            });
            let entry = enter(&gate, weight);
            let woken = giver.join().unwrap();
            let permit = match entry {
                Entry::Admitted(permit) => permit,
                Entry::Queued(ticket, _) => {
                    assert_eq!(woken, 1);
                    turn(&gate, &ticket)
                }
                Entry::Refused(refusal) => panic!("{refusal}"),
            };
            release(&gate, permit);
            let _ = admitted(&gate, weight);
        });
    }
}

/// CALL-18: whoever leaves just when its turn comes passes the permit on.
#[test]
fn a_leaver_passes_its_turn_on() {
    model(|| {
        let gate = gate(Bulkhead::limit(1).queue(2));
        let held = admitted(&gate, 1);
        let (leaver, stayer) = (queued(&gate), queued(&gate));
        let giver = thread::spawn({
            let gate = Arc::clone(&gate);
            move || release(&gate, held)
        });
        let passed_on = woken(gate.leave(leaver, NOW));
        let granted = giver.join().unwrap();
        assert!(passed_on + granted > 0, "somebody was told");
        let permit = turn(&gate, &stayer);
        release(&gate, permit);
        let _ = admitted(&gate, 1);
    });
}

/// CALL-18: a limit that shrinks while a permit comes back swallows exactly one.
#[test]
fn a_shrunk_limit_is_paid_once() {
    model(|| {
        let gate = gate(Bulkhead::limit(2));
        let (first, second) = (admitted(&gate, 1), admitted(&gate, 1));
        let giver = thread::spawn({
            let gate = Arc::clone(&gate);
            move || release(&gate, first)
        });
        assert_eq!(woken(gate.set(Bulkhead::limit(1), NOW).unwrap()), 0);
        giver.join().unwrap();
        assert!(matches!(enter(&gate, 1), Entry::Refused(_)));
        release(&gate, second);
        let _ = admitted(&gate, 1);
        assert!(matches!(enter(&gate, 1), Entry::Refused(_)));
    });
}
