//! What a person can see of instances and do about them, without the code that runs them.

mod act;
mod follow;
mod list;
mod show;
mod signal;

use std::time::Duration;

use backstay_store::{Invalid, Store, Unavailable};

use crate::engine::instances::{Instances, LoadError};
use crate::engine::names::Names;
use crate::engine::{DEFAULT_GROUP, DEFAULT_REMEMBER, check_remember};
use crate::machine::Illegal;

pub use act::{ActError, By};
pub use follow::{Follow, News, Seen};
pub use list::{Listed, Page};
pub use show::{Shown, ShownStep};

/// Sees the instances of a group in a store and decides about them. Cheap to clone.
///
/// What it decides is written into the instance's log, with who and why; the worker that runs it, or the next one, acts on
/// it.
#[derive(Clone, Debug)]
pub struct Operator {
    instances: Instances,
    remember: Duration,
}

/// Why an instance can't be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShowError {
    /// There is none of this name.
    #[error("saga {saga} has no instance {id:?}")]
    NotFound {
        /// The saga.
        saga: String,
        /// The id.
        id: String,
    },
    /// Its log can't be.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The store can't say now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<LoadError> for ShowError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            LoadError::Illegal(illegal) => Self::Illegal(illegal),
        }
    }
}

impl Operator {
    /// Of the group `default`, whose engines remember for 7 days.
    pub fn new(store: impl Into<Store>) -> Self {
        Self {
            instances: Instances {
                store: store.into(),
                names: Names::new(DEFAULT_GROUP),
            },
            remember: DEFAULT_REMEMBER,
        }
    }

    pub(crate) fn of(instances: Instances, remember: Duration) -> Self {
        Self {
            instances,
            remember,
        }
    }

    /// Of another group.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.instances.names = Names::new(group);
        self
    }

    /// How long an instance is listed that it abandons: 1 s to a year, as the [engine](crate::EngineBuilder::remember) has
    /// it. Default: 7 days.
    ///
    /// # Errors
    ///
    /// Another time.
    pub fn remember(mut self, time: Duration) -> Result<Self, Invalid> {
        check_remember(time)?;
        self.remember = time;
        Ok(self)
    }
}
