//! What is so of an instance, and what has to happen next: no I/O, no clock, no random source.

mod next;
mod state;

pub(crate) use next::LARGE;
pub use state::Illegal;
pub(crate) use state::{Back, Forward, Phase, State, Step};
