use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use backstay_store::{Fence, Position};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{Projection, Seen};
use crate::Invalid;
use crate::consumer::{self, Item, Place, Progress, Sink, SinkError, WaitError, at_least};
use crate::task::Task;

/// A read model in this process's memory, built anew from the log whenever the process starts.
///
/// Each process has its own: there is no claim, and what is set aside is forgotten with it.
pub struct Memory<S> {
    model: Arc<RwLock<S>>,
    position: watch::Receiver<Position>,
    progress: watch::Receiver<Progress>,
    running: Task,
}

impl<S> fmt::Debug for Memory<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Memory")
            .field(&*self.progress.borrow())
            .finish()
    }
}

impl<E: Serialize + DeserializeOwned + Send + Sync + 'static> Projection<E> {
    /// Begins to build a model in memory, from the start of the log.
    ///
    /// `apply` brings it up to date by one event; where it returns an error it has changed nothing. When it panics the model is
    /// built anew, without the thing's events from that one on. Needs a runtime.
    pub fn memory<S, X>(
        mut self,
        apply: impl Fn(&mut S, &Seen<E>) -> Result<(), X> + Send + Sync + 'static,
    ) -> Result<Memory<S>, Invalid>
    where
        S: Default + Send + Sync + 'static,
        X: std::error::Error + 'static,
    {
        self.options.is_own = true;
        self.validate()?;
        let name = self.streams.len() + 1;
        let consumer = self.consumer(&self.name);
        let model = Arc::new(RwLock::new(S::default()));
        let apply = move |model: &mut S, item: &Item<Arc<E>>| {
            let applied = apply(model, &Seen::new(item, name));
            applied.map_err(|error| super::options::chain(&error))
        };
        let sink = MemorySink {
            model: model.clone(),
            apply: Box::new(apply),
            at: Position::START,
            panicked: HashMap::new(),
        };
        Ok(Memory {
            model,
            position: consumer.gauge.position.subscribe(),
            progress: consumer.gauge.progress.subscribe(),
            running: consumer::start(consumer, sink),
        })
    }
}

impl<S> Memory<S> {
    /// Reads the model as it is now. What is read is waited for by events, so it should not take long.
    pub fn read<T>(&self, read: impl FnOnce(&S) -> T) -> T {
        read(&self.model.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the model shows all up to a position, at most so long.
    pub async fn at_least(&self, position: Position, within: Duration) -> Result<(), WaitError> {
        at_least(self.position.clone(), position, within).await
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Ends it.
    pub async fn stop(&self) {
        self.running.stop().await;
    }
}

struct MemorySink<S, E> {
    model: Arc<RwLock<S>>,
    apply: Box<Apply<S, E>>,
    at: Position,
    /// Streams, and the event at which they end.
    panicked: HashMap<String, Position>,
}

type Apply<S, E> = dyn Fn(&mut S, &Item<Arc<E>>) -> Result<(), String> + Send + Sync;

impl<S: Default + Send + Sync + 'static, E: Send + Sync + 'static> MemorySink<S, E> {
    fn take_all(&mut self, items: &[Item<Arc<E>>], to: Position) -> Result<(), SinkError> {
        let mut model = self.model.write().unwrap_or_else(PoisonError::into_inner);
        for item in items {
            let Place {
                position, stream, ..
            } = &*item.place;
            if *position <= self.at {
                continue;
            }
            if self
                .panicked
                .get(stream)
                .is_some_and(|first| first <= position)
            {
                return Err(SinkError::Refused("its code panicked".to_owned()));
            }
            let applied = catch_unwind(AssertUnwindSafe(|| (self.apply)(&mut model, item)));
            match applied {
                Ok(Ok(())) => self.at = *position,
                Ok(Err(error)) => return Err(SinkError::Refused(error)),
                Err(panic) => {
                    // Its value may panic when it is dropped.
                    std::mem::forget(panic);
                    self.panicked.insert(stream.clone(), *position);
                    *model = S::default();
                    self.at = Position::START;
                    return Err(SinkError::Fenced);
                }
            }
        }
        // It may be further, if what it was given is a part of what it has taken before one was refused.
        self.at = self.at.max(to);
        Ok(())
    }
}

impl<S: Default + Send + Sync + 'static, E: Send + Sync + 'static> Sink<Arc<E>>
    for MemorySink<S, E>
{
    fn open<'s>(&'s mut self, _: &'s Fence) -> BoxFuture<'s, Result<Position, SinkError>> {
        std::future::ready(Ok(self.at)).boxed()
    }

    fn take<'s>(
        &'s mut self,
        items: Arc<[Item<Arc<E>>]>,
        to: Position,
        _: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>> {
        std::future::ready(self.take_all(&items, to)).boxed()
    }

    fn take_again<'s>(
        &'s mut self,
        _: Item<Arc<E>>,
        _: &'s Fence,
    ) -> BoxFuture<'s, Result<(), SinkError>> {
        let never = SinkError::Refused("what is set aside here is not taken again".to_owned());
        std::future::ready(Err(never)).boxed()
    }
}
