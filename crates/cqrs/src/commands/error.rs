use std::error::Error;

use backstay_store::{Unavailable, Version};

use crate::Invalid;
use crate::events::EventError;

/// Why a command has come to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError<E: Error + 'static> {
    /// The decider says no.
    #[error(transparent)]
    Refused(E),
    /// Others were first each time.
    #[error("others were first {attempts} times")]
    Contended {
        /// So often it was decided.
        attempts: u32,
    },
    /// The key was used for another command on the same thing.
    #[error("the key was used for another command")]
    OtherCommand,
    /// The thing can't be known.
    #[error(transparent)]
    Unknown(LoadError),
    /// An event can't be written.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A name or a value breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store can't be asked, or its answer was lost; [`effect`](Unavailable::effect) says whether the events may be there.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a thing can't be known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It has an event of a kind, or a version of one, that this code does not know: to decide without it would be wrong.
    #[error(
        "event {kind:?} of stream {stream:?}, version {version}, is not one that this code knows"
    )]
    UnknownEvent {
        /// The stream.
        stream: String,
        /// The event's place in it.
        version: Version,
        /// Its kind and version, as stored.
        kind: String,
    },
    /// One of its events can't be read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The id can't be one.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store can't say.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl<E: Error + 'static> From<LoadError> for ExecuteError<E> {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Event(error) => Self::Event(error),
            LoadError::Invalid(invalid) => Self::Invalid(invalid),
            LoadError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            error @ LoadError::UnknownEvent { .. } => Self::Unknown(error),
        }
    }
}
