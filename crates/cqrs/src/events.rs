//! Events as they are in the store: a kind, a version of the kind, and data.

mod probe;

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use backstay_store::{Event, Recorded, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Invalid, Message};

/// How the events of an enum are written and read. Cheap to clone.
///
/// A variant is a kind, by the name that serde gives it; its fields are the data. What changes in a kind gets an
/// [upcast](Self::upcast), and old events are read as new ones: nothing that is stored is ever rewritten.
///
/// ```
/// use backstay_cqrs::Events;
/// use serde::{Deserialize, Serialize};
/// use serde_json::json;
///
/// #[derive(Serialize, Deserialize)]
/// enum Account {
///     Opened { owner: String },
///     // It was `amount` once, in whole euros.
///     Deposited { cents: u64 },
/// }
///
/// let events = Events::<Account>::new()?.upcast("Deposited", 1, |data| {
///     let euros = data["amount"].as_u64().ok_or("it has no amount")?;
///     Ok(json!({ "cents": euros * 100 }))
/// })?;
/// # Ok::<(), backstay_cqrs::Invalid>(())
/// ```
pub struct Events<E> {
    shared: Arc<Shared>,
    events: PhantomData<fn() -> E>,
}

#[derive(Clone)]
struct Shared {
    kinds: &'static [&'static str],
    /// By kind, from version 1 on.
    upcasts: HashMap<String, Vec<Upcast>>,
}

type Upcast = Arc<dyn Fn(Value) -> Result<Value, UpcastError> + Send + Sync>;

/// Why data of one version is not data of the next.
pub type UpcastError = Box<dyn std::error::Error + Send + Sync>;

/// An event that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read<E> {
    /// One of the enum.
    Known(E),
    /// Of a kind, or a version of one, that this code does not know. It is kept as it is.
    Unknown,
}

/// Why an event can't be read, or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Its data is not that of its kind.
    #[error("event {kind:?} of stream {stream:?}, version {version}")]
    Data {
        /// The event's kind and version, as stored.
        kind: String,
        /// The stream.
        stream: String,
        /// Its place in the stream.
        version: Version,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// An upcast refused it.
    #[error(
        "event {kind:?} of stream {stream:?}, version {version}, can't be read as the next version"
    )]
    Upcast {
        /// The event's kind and version, as stored.
        kind: String,
        /// The stream.
        stream: String,
        /// Its place in the stream.
        version: Version,
        /// What the upcast said.
        #[source]
        source: UpcastError,
    },
    /// It can't be written.
    #[error("an event is not what JSON can hold")]
    Write(#[source] serde_json::Error),
    /// It could be written, and not be read again: serde reads it otherwise than it writes it, or it holds a number that is
    /// none.
    #[error("event {kind:?} could not be read again")]
    Unreadable {
        /// What it would be stored as.
        kind: String,
        /// What is wrong; none if its kind is not one that is read.
        #[source]
        source: Option<serde_json::Error>,
    },
}

impl<E> Clone for Events<E> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            events: PhantomData,
        }
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Events").field(&self.shared.kinds).finish()
    }
}

/// What stands between a kind and its version, from 2 on.
const VERSION: &str = ".v";

impl<E: Serialize + DeserializeOwned> Events<E> {
    /// Of an enum in serde's default form, each kind in version 1.
    pub fn new() -> Result<Self, Invalid> {
        let kinds = probe::variants::<E>().ok_or_else(|| {
            let limit = "must be an enum in the form that serde gives one by default";
            Invalid::new("events", std::any::type_name::<E>(), limit)
        })?;
        if let Some(kind) = kinds.iter().find(|kind| split(kind).1 != 1) {
            let limit = format!("must not end as a version does, with `{VERSION}` and a number");
            return Err(Invalid::new("kind", format!("{kind:?}"), limit));
        }
        let shared = Shared {
            kinds,
            upcasts: HashMap::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            events: PhantomData,
        })
    }

    /// Makes data of version `from` of a kind that of the next version. A kind's current version is the last upcast's and one.
    pub fn upcast(
        mut self,
        kind: &str,
        from: u32,
        upcast: impl Fn(Value) -> Result<Value, UpcastError> + Send + Sync + 'static,
    ) -> Result<Self, Invalid> {
        if !self.shared.kinds.contains(&kind) {
            let limit = "must be a kind of the enum";
            return Err(Invalid::new("kind", format!("{kind:?}"), limit));
        }
        let shared = Arc::make_mut(&mut self.shared);
        let upcasts = shared.upcasts.entry(kind.to_owned()).or_default();
        let next = u32::try_from(upcasts.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        if from != next {
            let limit = format!("must be {next}, the version that has no upcast yet");
            return Err(Invalid::new("from", from, limit));
        }
        upcasts.push(Arc::new(upcast));
        Ok(self)
    }

    /// The event as the store takes it.
    ///
    /// # Errors
    ///
    /// [`EventError::Write`], and [`EventError::Unreadable`] where what is written could not be read again.
    pub fn write(&self, event: &E) -> Result<Event, EventError> {
        self.write_and_read(event).map(|(stored, _)| stored)
    }

    pub(crate) fn write_and_read(&self, event: &E) -> Result<(Event, E), EventError> {
        let (kind, data) = self.parts(event)?;
        let read = self.read_stored(&Stored {
            kind: &kind,
            data: data.as_bytes(),
            stream: "",
            version: Version::START,
        });
        match read {
            Ok(Read::Known(read)) => Ok((Event::new(kind, data), read)),
            Ok(Read::Unknown) => Err(EventError::Unreadable { kind, source: None }),
            Err(EventError::Data { kind, source, .. }) => Err(EventError::Unreadable {
                kind,
                source: Some(source),
            }),
            Err(error) => Err(error),
        }
    }

    /// An event's kind as it is stored, and its data.
    fn parts(&self, event: &E) -> Result<(String, String), EventError> {
        let text = serde_json::to_string(event).map_err(EventError::Write)?;
        let (kind, data) = if text.starts_with('"') {
            let kind: String = serde_json::from_str(&text).map_err(EventError::Write)?;
            (kind, "null".to_owned())
        } else {
            let parts: HashMap<String, &RawValue> =
                serde_json::from_str(&text).map_err(EventError::Write)?;
            let Some((kind, data)) = parts.into_iter().next() else {
                unreachable!("serde writes a variant as a map with its name");
            };
            (kind, data.get().to_owned())
        };
        let version = self.version(&kind);
        let kind = match version {
            1 => kind,
            version => format!("{kind}{VERSION}{version}"),
        };
        Ok((kind, data))
    }

    /// The event that the store has.
    pub fn read(&self, recorded: &Recorded) -> Result<Read<E>, EventError> {
        self.read_stored(&Stored {
            kind: &recorded.kind,
            data: &recorded.data,
            stream: &recorded.stream,
            version: recorded.version,
        })
    }

    /// The event that a relay has sent: another service's, whose old messages are read as new ones too.
    pub fn read_message(&self, message: &Message) -> Result<Read<E>, EventError> {
        self.read_stored(&Stored {
            kind: &message.kind,
            data: message.data.get().as_bytes(),
            stream: &message.key,
            version: message.version(),
        })
    }

    fn read_stored(&self, stored: &Stored<'_>) -> Result<Read<E>, EventError> {
        let (kind, version) = split(stored.kind);
        let current = self.version(kind);
        if !self.shared.kinds.contains(&kind) || version > current {
            return Ok(Read::Unknown);
        }
        let read = if version == current {
            let name = serde_json::to_string(kind);
            name.and_then(|name| {
                let mut text = Vec::with_capacity(name.len() + stored.data.len() + 3);
                text.push(b'{');
                text.extend_from_slice(name.as_bytes());
                text.push(b':');
                text.extend_from_slice(stored.data);
                text.push(b'}');
                serde_json::from_slice(&text)
            })
        } else {
            let data = serde_json::from_slice(stored.data);
            let mut data: Value = data.map_err(|source| stored.broken(source))?;
            let upcasts = self.shared.upcasts.get(kind).map_or(&[][..], Vec::as_slice);
            for upcast in &upcasts[version as usize - 1..] {
                data = upcast(data).map_err(|source| EventError::Upcast {
                    kind: stored.kind.to_owned(),
                    stream: stored.stream.to_owned(),
                    version: stored.version,
                    source,
                })?;
            }
            serde_json::from_value(Value::Object(
                [(kind.to_owned(), data)].into_iter().collect(),
            ))
        };
        read.map(Read::Known)
            .map_err(|source| stored.broken(source))
    }

    fn version(&self, kind: &str) -> u32 {
        let upcasts = self.shared.upcasts.get(kind).map_or(0, Vec::len);
        u32::try_from(upcasts).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// An event as it is kept, and where it is.
struct Stored<'e> {
    kind: &'e str,
    data: &'e [u8],
    stream: &'e str,
    version: Version,
}

impl Stored<'_> {
    fn broken(&self, source: serde_json::Error) -> EventError {
        EventError::Data {
            kind: self.kind.to_owned(),
            stream: self.stream.to_owned(),
            version: self.version,
            source,
        }
    }
}

/// A kind and its version.
fn split(stored: &str) -> (&str, u32) {
    let parts = stored.rsplit_once(VERSION);
    let version = parts.and_then(|(kind, version)| {
        let is_plain = !version.starts_with(['0', '+']);
        Some((kind, version.parse().ok().filter(|_| is_plain)?))
    });
    match version {
        Some((kind, version)) if version >= 2 => (kind, version),
        _ => (stored, 1),
    }
}

#[cfg(test)]
mod tests;
