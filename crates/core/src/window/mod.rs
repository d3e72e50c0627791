//! Windows: exact counts of what happened lately.
//!
//! Both windows count into generations. A new generation starts from nothing, and a count that arrives late
//! from an older one changes nothing, even if its thread was stopped between two instructions.

mod count;
mod time;

pub use count::CountWindow;
pub(crate) use count::MAX_CALLS;
pub use time::TimeWindow;

/// Buckets of a time window. The window moves by whole buckets, so its age is exact to a tenth.
pub const BUCKETS: u64 = 10;
/// Places for them: a power of two, because finding the place is on the way of every call.
const SLOTS: usize = 16;

/// Where a tick's counts lie among [`SLOTS`].
#[expect(
    clippy::cast_possible_truncation,
    reason = "it is smaller than the number of places"
)]
fn slot(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

/// Whether `stored`, a wrapping number below `2^bits`, is ahead of `mine` by less than `reach`.
fn is_newer(stored: u64, mine: u64, bits: u32, reach: u64) -> bool {
    let ahead = stored.wrapping_sub(mine) & ((1 << bits) - 1);
    (1..reach).contains(&ahead)
}
