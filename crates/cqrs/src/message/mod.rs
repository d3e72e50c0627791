//! Messages: what has happened, told to others at least once, and taken by them once.

mod envelope;
mod in_process;
mod inbox;
mod relay;

pub use envelope::{Message, MessageError};
pub use in_process::{InProcess, Received};
pub use inbox::{Inbox, InboxError, Taken};
pub use relay::{Relay, Relaying, SendError, Transport};
