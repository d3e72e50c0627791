//! Write side and read side: decided events, read models that know how far they are, messages that are not lost.

mod commands;
mod consumer;
mod decider;
mod events;
mod hash;
#[cfg(feature = "http")]
pub mod http;
mod message;
#[cfg(feature = "metrics")]
pub mod metrics;
mod name;
mod operator;
mod projection;
mod task;

pub use backstay_core::Invalid;
pub use commands::{Commands, CommandsBuilder, Done, ExecuteError, Known, LoadError};
pub use consumer::{Happened, Progress, WaitError};
pub use decider::Decider;
pub use events::{EventError, Events, Read, UpcastError};
#[cfg(feature = "nats")]
pub use message::nats;
#[cfg(feature = "webhook")]
pub use message::webhook;
pub use message::{
    Aside, AsideError, InProcess, Inbox, InboxError, Message, MessageError, Received, Relay,
    Relaying, SendError, Taken, Transport,
};
pub use operator::{Dead, DecideError, Listed, Operator};
pub use projection::{
    Checksum, Document, Documents, Memory, Projection, ReadError, Seen, Table, Tables,
};
