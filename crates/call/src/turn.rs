//! Waiting at a gate: the part that needs wakers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};

use backstay_core::bulkhead::{Gate, Ticket, Turn};

/// Asks whether the turn has come, and leaves this task's waker if not.
///
/// The waker is cloned before and the old one dropped after the gate's lock: wakers are somebody else's code.
pub(crate) fn poll_turn(gate: &Gate<Waker>, ticket: &Ticket, cx: &Context<'_>) -> Turn {
    let mut mine = cx.waker().clone();
    gate.poll(ticket, |waker| {
        if !waker.will_wake(&mine) {
            std::mem::swap(waker, &mut mine);
        }
    })
}

/// Wakes those whose turn has come, outside of every lock.
///
/// A waker that panics keeps nobody else asleep.
pub(crate) fn wake(waiters: impl IntoIterator<Item = Waker>) {
    for waiter in waiters {
        let _ = catch_unwind(AssertUnwindSafe(|| waiter.wake()));
    }
}
