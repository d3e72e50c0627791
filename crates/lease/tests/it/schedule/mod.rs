//! Jobs of the leader.

mod clock;
mod failures;
mod kit;
mod leaders;
mod net;
mod options;
mod policies;
mod restart;
mod takeovers;
