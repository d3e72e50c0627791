//! Messages: what has happened, told to others at least once, and taken by them once.

mod aside;
mod envelope;
mod in_process;
mod inbox;
#[cfg(feature = "nats")]
pub mod nats;
mod relay;
#[cfg(any(feature = "nats", feature = "webhook"))]
mod safe;
#[cfg(feature = "webhook")]
pub mod webhook;

pub use aside::{Aside, AsideError};
pub use envelope::{Message, MessageError};
pub use in_process::{InProcess, Received};
pub use inbox::{Inbox, InboxError, Taken};
pub use relay::{Relay, Relaying, SendError, Transport};
