use std::array;

use crate::stripe::{self, Padded, STRIPES};
use crate::sync::atomic::{AtomicU64, Ordering};

/// The free permits, striped over threads: each thread takes from its own stripe while there is one.
///
/// A stripe holds the permits in its low half, and in its high half how often permits came back to it: a count
/// that costs nothing, by which the gate measures one hold in so many.
#[derive(Debug)]
pub(super) struct Permits([Padded<AtomicU64>; STRIPES]);

const COUNT: u64 = 0xFFFF_FFFF;
const ONE_RETURN: u64 = COUNT + 1;

impl Permits {
    pub(super) fn new(permits: u32) -> Self {
        let stripes = Self(array::from_fn(|_| Padded(AtomicU64::new(0))));
        stripes.spread(permits);
        stripes
    }

    /// Takes one, from this thread's stripe if it has any.
    pub(super) fn take_one(&self) -> bool {
        let mine = stripe::current();
        (0..STRIPES).any(|step| {
            let stripe = &self.0[(mine + step) % STRIPES].0;
            let mut seen = stripe.load(Ordering::SeqCst);
            while seen & COUNT != 0 {
                match stripe.compare_exchange_weak(
                    seen,
                    seen - 1,
                    Ordering::SeqCst,
                    Ordering::SeqCst,
                ) {
                    Ok(_) => return true,
                    Err(now) => seen = now,
                }
            }
            false
        })
    }

    /// Gives permits back to this thread's stripe. Answers how often that had been done there before.
    pub(super) fn give(&self, weight: u32) -> u64 {
        let stripe = &self.0[stripe::current()].0;
        stripe.fetch_add(ONE_RETURN + u64::from(weight), Ordering::SeqCst) / ONE_RETURN
    }

    /// Takes all there are. The caller holds the gate's lock and has raised its attention.
    ///
    /// One pass is enough to say that the gate is full, although permits move while it runs: a permit that comes
    /// back to a stripe already passed comes from somebody who sees the attention, and is still inside
    /// [`Gate::release`](super::Gate::release), waiting for our lock. Nobody has been told that it is free.
    ///
    /// It writes empty stripes too: whoever gives there later is then sure to see the attention.
    pub(super) fn take_all(&self) -> u32 {
        let taken: u64 = self
            .0
            .iter()
            .map(|stripe| stripe.0.fetch_and(!COUNT, Ordering::SeqCst) & COUNT)
            .sum();
        u32::try_from(taken).unwrap_or(u32::MAX)
    }

    /// Lays permits out over all stripes, as even as they come.
    pub(super) fn spread(&self, permits: u32) {
        let permits = permits as usize;
        for (index, stripe) in self.0.iter().enumerate() {
            let share = permits / STRIPES + usize::from(index < permits % STRIPES);
            if share > 0 {
                stripe.0.fetch_add(share as u64, Ordering::SeqCst);
            }
        }
    }

    /// How many are free, as near as can be told while they move.
    pub(super) fn sum(&self) -> u32 {
        let sum: u64 = self
            .0
            .iter()
            .map(|stripe| stripe.0.load(Ordering::SeqCst) & COUNT)
            .sum();
        u32::try_from(sum).unwrap_or(u32::MAX)
    }
}
