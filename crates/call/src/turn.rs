//! Waiting at a gate: the part that needs wakers.

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
pub(crate) fn wake(waiters: impl IntoIterator<Item = Waker>) {
    waiters.into_iter().for_each(Waker::wake);
}
