//! Messages by way of NATS `JetStream`.
//!
//! A stream is divided into partitions, each with a subject of its own; all messages of a key are in one. What is taken of a partition
//! is taken one after another, so that order is kept whoever takes it. docs/messages.md says more.

mod delivery;
mod partition;
mod publish;
mod source;
mod stream;

use std::error::Error;

pub use async_nats;
pub use delivery::Delivery;
pub use publish::NatsTransport;
pub use source::{NatsConsumer, NatsHappened, NatsSource};
pub use stream::NatsStream;

use crate::Invalid;

/// Why a way by NATS can't be used, or an answer could not be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// An option is out of its range, or what is there was made with another.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such stream yet: whoever sends to it makes it.
    #[error("there is no stream {stream:?}")]
    Missing {
        /// Its name.
        stream: String,
    },
    /// NATS can't be reached, or does not do what it was asked.
    #[error("NATS can't be asked")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

impl NatsError {
    fn unavailable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Letters, digits, `-` and `_`: what the names of streams, consumers and subjects may all be made of.
fn check(field: &'static str, name: &str) -> Result<(), Invalid> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
    if (1..=NAME_BYTES).contains(&name.len()) && name.chars().all(is_plain) {
        return Ok(());
    }
    let limit = format!("must be 1 to {NAME_BYTES} of letters, digits, - and _");
    Err(Invalid::new(field, format!("{name:?}"), limit))
}

const NAME_BYTES: usize = 64;
