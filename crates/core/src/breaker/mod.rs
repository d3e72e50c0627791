//! The circuit breaker: stop calling what fails, find out cheaply when it works again.
//!
//! [`Breaker`] holds the options, [`Circuit`] is the machine. Closed, it counts results in a window; it opens
//! on too many failures, too many slow calls or too many refusals, and after a while lets a few probes through
//! (half-open) to decide between closing and opening for longer.

mod circuit;
mod half_open;
mod options;
mod report;
mod tally;
mod word;

pub use circuit::{Admission, Circuit};
pub use options::{Breaker, Window};
pub use report::{Cause, CircuitSnapshot, Rejection, Transition};
pub use word::{Control, Phase};
