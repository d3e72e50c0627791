use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Invalid;
use crate::consumer::{Consumer, Decoded, Gauge, Happened, Listener, Options};
use crate::events::{Events, Read};
use crate::name::check_name;

/// A read side before it has a place: which events it follows, and how.
pub struct Projection<E> {
    pub(super) log: Store,
    pub(super) name: String,
    pub(super) streams: String,
    events: Events<E>,
    pub(super) options: Options,
    is_unknown_passed: bool,
    listener: Option<Listener>,
}

impl<E> fmt::Debug for Projection<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projection")
            .field("name", &self.name)
            .field("streams", &self.streams)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<E: Serialize + DeserializeOwned + Send + Sync + 'static> Projection<E> {
    /// A read side of this name that follows the streams `{streams}/..` in this store.
    pub fn new(
        log: impl Into<Store>,
        name: impl Into<String>,
        streams: impl Into<String>,
        events: Events<E>,
    ) -> Self {
        Self {
            log: log.into(),
            name: name.into(),
            streams: streams.into(),
            events,
            options: Options::default(),
            is_unknown_passed: false,
            listener: None,
        }
    }

    /// How long a lost node's work rests until another takes it: 300 ms to 1 h. Default: 10 s.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }

    /// So often an event that the read side refuses is tried, over some seconds, before it is set aside: 1 to 100. Default: 6.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = attempts;
        self
    }

    /// With more events than these set aside nothing goes on until some are replayed or skipped: 1 to 1,000,000. Default: 10,000.
    #[must_use]
    pub fn dead_limit(mut self, limit: u32) -> Self {
        self.options.dead_limit = limit;
        self
    }

    /// Passes over events of kinds, and versions of kinds, that its code does not know. Default: they are set aside.
    ///
    /// For a read side whose enum has only some of the kinds. Without it, an event that newer code has written waits until
    /// newer code reads it.
    #[must_use]
    pub fn pass_unknown(mut self) -> Self {
        self.is_unknown_passed = true;
        self
    }

    /// Is told what happens, and to which consumer: this name, or `{name}~{generation}` where one is built beside.
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&str, &Happened) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        check_name("name", &self.name)?;
        check_name("streams", &self.streams)?;
        self.options.validate()
    }

    /// What follows the log for one of its generations.
    pub(super) fn consumer(&self, id: &str) -> Consumer<Arc<E>> {
        let (events, is_unknown_passed) = (self.events.clone(), self.is_unknown_passed);
        Consumer {
            log: self.log.clone(),
            name: id.to_owned(),
            prefix: format!("{}/", self.streams),
            decode: Box::new(move |recorded| match events.read(recorded) {
                Ok(Read::Known(event)) => Decoded::Item(Arc::new(event)),
                Ok(Read::Unknown) if is_unknown_passed => Decoded::Pass,
                Ok(Read::Unknown) => {
                    Decoded::Unreadable(format!("its kind {:?} is not known", recorded.kind))
                }
                Err(error) => Decoded::Unreadable(chain(&error)),
            }),
            options: self.options.clone(),
            gauge: Gauge::new(id, self.listener.clone()),
        }
    }
}

/// An error and what caused it.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
