//! What can go wrong on the way to the server, and what it means.

use backstay_core::Effect;
use deadpool_postgres::{PoolError, TimeoutType};
use tokio::time::error::Elapsed;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::{Cause, Unavailable};

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the server or the way to it fails")]
    Server(#[from] tokio_postgres::Error),
    #[error("no connection can be had")]
    Connection(#[from] PoolError),
    #[error("the server did not answer in time")]
    Silence(#[from] Elapsed),
    #[error("the connection was closed before anything was sent")]
    Closed,
    #[error("the store's state is missing")]
    NoState,
}

impl Failure {
    /// Whether the same transaction may succeed at once: it met others, stood still for too long, or its connection had
    /// been closed before.
    pub(super) fn is_passing(&self) -> bool {
        let error = match self {
            Self::Server(error) => error,
            other => return matches!(other, Self::Closed),
        };
        error.is_closed()
            || matches!(
                error.code(),
                Some(
                    &SqlState::T_R_SERIALIZATION_FAILURE
                        | &SqlState::T_R_DEADLOCK_DETECTED
                        | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                )
            )
    }

    /// Whether it may be the fault of one batch among several: data, a constraint, a size.
    pub(super) fn may_be_of_one(&self) -> bool {
        const CLASSES: [&str; 3] = ["22", "23", "54"];
        let Self::Server(error) = self else {
            return false;
        };
        error.code().is_some_and(|code| {
            *code == SqlState::OUT_OF_MEMORY
                || CLASSES.iter().any(|class| code.code().starts_with(class))
        })
    }

    /// What the transaction may have done once `COMMIT` was sent.
    ///
    /// A statement's error ends it without effect, and a session that stood still had not heard of its `COMMIT`. Where
    /// it ends otherwise, also by a message, nobody knows.
    pub(super) fn effect_of_commit(&self) -> Effect {
        let Self::Server(error) = self else {
            return Effect::Unknown;
        };
        if error.code() == Some(&SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT) {
            return Effect::NotExecuted;
        }
        match error.as_db_error().and_then(DbError::parsed_severity) {
            Some(Severity::Error) => Effect::NotExecuted,
            _ => Effect::Unknown,
        }
    }

    fn cause(&self) -> Cause {
        let error = match self {
            Self::Connection(PoolError::Timeout(TimeoutType::Wait)) | Self::Silence(_) => {
                return Cause::Busy;
            }
            Self::Connection(PoolError::Closed) => return Cause::Closed,
            Self::NoState => return Cause::Corrupt,
            Self::Server(error) | Self::Connection(PoolError::Backend(error)) => error,
            Self::Connection(_) | Self::Closed => return Cause::Storage,
        };
        match error.code().map_or("", SqlState::code) {
            // Canceled by a timeout, a lock that is held, too many connections, others in the way.
            "57014" | "55P03" | "53300" | "40001" | "40P01" => Cause::Busy,
            // The second is what a standby says to a transaction that wants to write.
            "25006" | "0A000" => Cause::ReadOnly,
            "53100" => Cause::Full,
            code if code.starts_with("XX0") && code != "XX000" => Cause::Corrupt,
            _ => Cause::Storage,
        }
    }

    pub(super) fn told(self, effect: Effect) -> Unavailable {
        Unavailable::new(self.cause(), effect).because(self)
    }
}

/// Before `COMMIT` was sent nothing has happened.
impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        failure.told(Effect::NotExecuted)
    }
}
