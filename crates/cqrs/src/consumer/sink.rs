use std::sync::Arc;

use backstay_store::{Fence, Position, Unavailable};
use futures_util::future::BoxFuture;

use super::Item;

/// Where what is consumed goes, with a checkpoint of its own.
pub(crate) trait Sink<T>: Send + Sync + 'static {
    /// Takes over under a fence: nobody with an earlier one gets anything in from now on. Says how far it is.
    fn open<'s>(&'s mut self, fence: &'s Fence) -> BoxFuture<'s, Result<Position, SinkError>>;

    /// Takes items, in order, and that it is at this position then: both or neither.
    fn take<'s>(
        &'s mut self,
        items: Arc<[Item<T>]>,
        to: Position,
        fence: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>>;

    /// Takes one item that was set aside, unless it has taken it. The checkpoint stays.
    fn take_again<'s>(
        &'s mut self,
        item: Item<T>,
        fence: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>>;
}

/// Why a sink has taken nothing.
#[derive(Clone, Debug)]
pub(crate) enum SinkError {
    /// One of the items, or all together, is not for it.
    Refused(String),
    /// It can't be asked, or its answer was lost.
    Unavailable(String),
    /// Somebody else has taken over.
    Fenced,
}

impl From<Unavailable> for SinkError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}
