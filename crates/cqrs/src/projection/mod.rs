//! The read side: models that follow the log, each with its checkpoint in its own transaction.

mod checkpoint;
mod documents;
mod feeder;
mod generation;
mod memory;
mod options;
mod seen;
mod tables;
mod view;

pub(crate) use checkpoint::{Checkpoint, mark, not_committed};
pub use documents::{Document, Documents, ReadError};
pub use memory::Memory;
pub use options::Projection;
pub(crate) use options::chain;
pub use seen::Seen;
pub use tables::{Table, Tables};
pub use view::Checksum;
