use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use backstay_call::{CallError, Class, Reason};

/// What a look-up says of a key.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer<V> {
    /// The value; none if the key is not there.
    pub value: Option<Arc<V>>,
    /// The number of the load that brought it: of two answers the one with the higher number was asked for later.
    pub version: u64,
    /// The value was the source's at some moment not longer ago than this, counted from before the load's request.
    pub age: Duration,
    /// Where it came from.
    pub source: AnswerFrom,
}

impl<V> Clone for Answer<V> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            ..*self
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnswerFrom {
    /// It was kept, and its time is not over.
    Cache,
    /// It was loaded for this look-up, or for another that was under way.
    Load,
    /// Its time is over: it is being loaded anew, or can't be.
    Stale,
}

/// An error of a load, which says whether an older answer may be served instead.
pub trait LoadError: Error + Send + Sync + 'static {
    /// Whether the source can't say now. An answer that it gave, such as that nobody may read this, is none.
    fn is_unavailable(&self) -> bool;
}

/// What a breaker or a bulkhead refuses, what timed out and what may pass.
impl<E: Error + Send + Sync + 'static> LoadError for CallError<E> {
    fn is_unavailable(&self) -> bool {
        match self.reason() {
            Reason::Operation(_) => matches!(self.class(), Class::Transient(_)),
            _ => true,
        }
    }
}

/// Every one.
impl LoadError for std::io::Error {
    fn is_unavailable(&self) -> bool {
        true
    }
}

/// There is none.
impl LoadError for std::convert::Infallible {
    fn is_unavailable(&self) -> bool {
        match *self {}
    }
}

/// Why a look-up has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError<E> {
    /// The load failed, for all who waited for it.
    #[error("the load failed")]
    Load(#[source] Arc<E>),
    /// There are as many loads as there may be.
    #[error("{limit} loads are under way")]
    Busy {
        /// The bound.
        limit: usize,
    },
    /// What was loaded is older than is allowed, because the load took so long.
    #[error("the answer is {age:?} old, and at most {limit:?} are allowed")]
    Stale {
        /// Its age, at most.
        age: Duration,
        /// What is allowed.
        limit: Duration,
    },
    /// The key was invalidated again and again while it was loaded.
    #[error("the key was invalidated while it was loaded, time after time")]
    Contended,
    /// The load panicked, or its runtime has ended.
    #[error("the load has ended without an answer")]
    Lost,
}
