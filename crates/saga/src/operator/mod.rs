//! What a person can see of instances and do about them, without the code that runs them.

mod act;
mod follow;
mod list;
mod show;

use backstay_store::{Store, Unavailable};

use crate::engine::instances::{Instances, LoadError};
use crate::engine::names::Names;
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
    /// Of the group `default`.
    pub fn new(store: impl Into<Store>) -> Self {
        Self {
            instances: Instances {
                store: store.into(),
                names: Names::new(crate::engine::DEFAULT_GROUP),
            },
        }
    }

    pub(crate) fn of(instances: Instances) -> Self {
        Self { instances }
    }

    /// Of another group.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.instances.names = Names::new(group);
        self
    }
}
