//! The budget for extra attempts: retries and hedges of all calls draw on one ledger.
//!
//! A dependency in trouble fails calls, failed calls are repeated, and the repeats are the load that keeps it in
//! trouble. So extra attempts are paid from what the calls of the last ten seconds earned: `ratio` each, and
//! for retries a small reserve a second, without which a client with few calls could never repeat one.
//!
//! # The bound
//!
//! Over any run, with any timing and any number of threads,
//! `extra attempts <= ratio * calls + reserve_per_s * seconds`.
//!
//! *Reserve*: at most `reserve_per_s` of its tokens are given in a second, and what was not used is gone.
//!
//! *Earned*: a token is held from its draw to the end of its attempt and counts as spent for ten ticks more, so
//! every token drawn in the ten ticks up to T is still on the books at T. A draw at T is granted only if the
//! tokens on the books, itself included, are at most `ratio` times the calls stamped with those same ten ticks.
//! Let the last draw of a run be at T: the draws of the ten ticks up to T are paid by the calls of the same ten
//! ticks. Take both away; what remains is a shorter run whose last draw is at `T - 10` or before, and whose
//! draws are paid by calls not yet used, by induction. The same sentence with one step is the bound for a
//! single window that ends with a draw. A refunded token leaves the books as if it was never drawn, which only
//! makes the sum smaller; and an attempt that takes minutes stays on the books for all of them, so that slow
//! attempts can't pile up.
//!
//! The time the ledger uses never goes back: a draw whose `now` is older than one already seen happens at the
//! newer one. A call stamped late counts in its own second or not at all. Neither can add to the left side.

mod ledger;
mod options;
#[cfg(all(test, not(loom)))]
mod tests;

pub use ledger::{BudgetSnapshot, Extra, Ledger, Token};
pub use options::BudgetOptions;
