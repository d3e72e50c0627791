use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a step was not done, and what that leaves behind.
///
/// `?` makes one of any error, and that says the least: [`unknown`](Self::unknown). A step says more only where it
/// knows more.
pub struct StepError {
    pub(crate) effect: StepEffect,
    /// Trying again shows the same.
    pub(crate) is_final: bool,
    /// Trying again sooner shows the same.
    pub(crate) after: Duration,
    source: Box<dyn Error + Send + Sync>,
}

/// What a step that was not done leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StepEffect {
    /// Nothing, from this attempt and all before it, and it will not work again. The step has failed.
    Failed,
    /// Nothing, from this attempt. Another one may work.
    NotExecuted,
    /// Nobody knows.
    Unknown,
}

impl StepError {
    /// It was refused, and nothing has happened: not in this attempt, nor in any before.
    ///
    /// It is not tried again. The saga turns back; where an attempt before was unknown, the step's own undo runs all the same.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StepEffect::Failed, error)
    }

    /// This attempt has not begun to do anything: a refused connection, an open breaker.
    ///
    /// It is tried again.
    pub fn not_executed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StepEffect::NotExecuted, error)
    }

    /// It may have happened, or happen yet: a timeout, a lost connection.
    ///
    /// It is tried again under the same key, unless the step is not idempotent; else it is undone as
    /// [`Attempt::Unknown`](crate::Attempt::Unknown).
    pub fn unknown(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StepEffect::Unknown, error)
    }

    /// Nobody knows, and nobody will.
    pub(crate) fn unknown_for_good(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            is_final: true,
            ..Self::unknown(error)
        }
    }

    fn new(effect: StepEffect, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            effect,
            is_final: effect == StepEffect::Failed,
            after: Duration::ZERO,
            source: error.into(),
        }
    }

    /// The next attempt is not made sooner than so long from now, a day at most.
    #[must_use]
    pub fn again_in(mut self, time: Duration) -> Self {
        self.after = time.min(LONGEST);
        self
    }

    /// What is left behind.
    pub fn effect(&self) -> StepEffect {
        self.effect
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::unknown(error)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(self.source.as_ref(), f)
    }
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.effect)
    }
}

/// Why a step is not undone yet. It is tried again; any error is one by `?`.
pub struct UndoError {
    pub(crate) is_final: bool,
    source: Box<dyn Error + Send + Sync>,
}

impl UndoError {
    /// It is tried again, like what comes by `?`.
    pub fn again(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            is_final: false,
            source: error.into(),
        }
    }

    /// Trying again helps nothing: the saga is parked for a person at once.
    pub fn give_up(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            is_final: true,
            source: error.into(),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for UndoError {
    fn from(error: E) -> Self {
        Self::again(error)
    }
}

impl fmt::Display for UndoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_chain(self.source.as_ref(), f)
    }
}

impl fmt::Debug for UndoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whoever needs longer wants a sleep.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// As much of an error's text is kept.
const TEXT: usize = 4_096;

/// The text of an error, for the log.
pub(crate) fn text(error: &impl fmt::Display) -> String {
    let mut text = error.to_string();
    let mut end = text.len().min(TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The error and what caused it.
fn write_chain(error: &(dyn Error + 'static), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut cause = error.source();
    while let Some(next) = cause {
        write!(f, ": {next}")?;
        cause = next.source();
    }
    Ok(())
}
