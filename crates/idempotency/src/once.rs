use std::time::Duration;

use backstay_core::{Effect, Invalid};
use backstay_store::{CommitError, Store, Unavailable};

use crate::options::{BuildError, Options, RETRY_AFTER, Volatile};
use crate::records::{Begin, LookError, Records};
use crate::{Fingerprint, Guard, Kept, KeptError, Key};

/// Does what carries a key once, and answers repeats with the answer of the first. Cheap to clone.
///
/// [`run`](Self::run) is for work whose effects are rows beside the store: rows, record and answer are one commit.
/// [`begin`](Self::begin) is for effects elsewhere.
#[derive(Clone, Debug)]
pub struct Idempotency<S = Store> {
    pub(crate) records: Records,
    pub(crate) backend: S,
}

/// Collects the options of an [`Idempotency`].
#[derive(Clone, Debug)]
#[must_use = "a builder builds nothing until `build`"]
pub struct IdempotencyBuilder<S = Store> {
    backend: S,
    options: Options,
}

impl<S: Clone + Into<Store>> Idempotency<S> {
    /// Keeps records in this store, with the default options.
    ///
    /// # Errors
    ///
    /// [`BuildError::Volatile`] when the store is not durable.
    pub fn new(store: S) -> Result<Self, BuildError> {
        Self::builder(store).build()
    }

    /// Starts with the default options.
    pub fn builder(store: S) -> IdempotencyBuilder<S> {
        IdempotencyBuilder {
            backend: store,
            options: Options::default(),
        }
    }
}

impl<S: Clone + Into<Store>> IdempotencyBuilder<S> {
    /// How long an answer is kept after it was given, 1 s to 366 days. Default: 24 h.
    ///
    /// Publish it: after that the same key is a new request. It also bounds how long work may run.
    pub fn retention(mut self, time: Duration) -> Self {
        self.options.retention = time;
        self
    }

    /// After how much silence of its owner somebody else may run the work, 100 ms to the retention. Default: 30 s.
    ///
    /// By the store's clock. An owner that lives renews three times in it. For as long an answer is tried that the store
    /// can't keep at once.
    pub fn take_over_after(mut self, time: Duration) -> Self {
        self.options.take_over_after = time;
        self
    }

    /// Takes a store that ends with its process: for tests, and for what may be done twice.
    pub fn allow_volatile(mut self) -> Self {
        self.options.volatile = Volatile::Allowed;
        self
    }

    /// Checks the options and the store.
    ///
    /// # Errors
    ///
    /// Names the option, its value and the range, or says that the store is not durable.
    pub fn build(self) -> Result<Idempotency<S>, BuildError> {
        let store = self.backend.clone().into();
        self.options.check(&store)?;
        Ok(Idempotency {
            records: Records {
                store,
                options: self.options,
            },
            backend: self.backend,
        })
    }
}

/// What stands under a key when somebody begins.
#[derive(Debug)]
#[non_exhaustive]
pub enum Begun {
    /// The work is the caller's.
    Claimed(Guard),
    /// It was done before.
    Finished(Kept),
    /// Somebody is at it.
    Running {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// The key is empty.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The key was used for another request.
    #[error("the key was used for another request")]
    Mismatch,
    /// The key was [withdrawn](Idempotency::withdraw): its work is not to be done any more.
    #[error("the key was withdrawn")]
    Withdrawn {
        /// What was done under it before: nothing, or what is not known here, for it may be undone by now.
        effect: Effect,
    },
    /// What is kept can't be read. The work is not run again.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// Others came and went all the time.
    #[error("others were faster every time")]
    Contended,
    /// The store can't say, or can't claim.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<LookError> for BeginError {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Mismatch => Self::Mismatch,
            LookError::Withdrawn(was) => Self::Withdrawn {
                effect: was.effect(),
            },
            LookError::Kept(error) => Self::Kept(error),
            LookError::Unavailable(error) => Self::from(error),
        }
    }
}

impl From<Unavailable> for BeginError {
    fn from(error: Unavailable) -> Self {
        Self::Commit(error.into())
    }
}

impl<S> Idempotency<S> {
    /// Claims a key for work whose effects are elsewhere.
    ///
    /// If the process dies before the [`Guard`] is ended, the next try runs the work again once the take-over time is
    /// over. So the work itself should be safe to repeat, or go under a key of its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future frees what it may have claimed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub async fn begin(
        &self,
        key: impl Into<Key>,
        fingerprint: &Fingerprint,
    ) -> Result<Begun, BeginError> {
        let key = key.into();
        key.check()?;
        let names = key.names();
        Ok(match self.records.begin(&names, fingerprint).await? {
            Begin::Claimed(guard) => Begun::Claimed(guard),
            Begin::Finished(kept) => Begun::Finished(kept),
            Begin::Running => Begun::Running {
                retry_after: RETRY_AFTER,
            },
        })
    }
}
