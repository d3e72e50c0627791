use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::{Position, Version};

/// Changes that happen together or not at all.
///
/// Its id is made with it. Committing a clone again, because the answer to the first try was lost, changes nothing
/// twice: the first commit is the answer. A batch whose content was changed since is another batch; make a new one.
#[derive(Clone, Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    pub(crate) id: BatchId,
    pub(crate) changes: Vec<Change>,
    pub(crate) fence: Option<Fence>,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Append {
        stream: String,
        append: Append,
    },
    Put {
        key: String,
        put: Put,
    },
    Delete {
        key: String,
        expected: Expected<Position>,
    },
    /// No change, but a condition of all others.
    Expect {
        key: String,
        expected: Expected<Position>,
    },
}

impl Batch {
    /// A batch without changes.
    #[expect(
        clippy::new_without_default,
        reason = "each is another: a default that differs every time surprises"
    )]
    pub fn new() -> Self {
        Self {
            id: BatchId::new(),
            changes: Vec::new(),
            fence: None,
        }
    }

    /// By this the batch is known.
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// The streams that it appends to.
    pub fn streams(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().filter_map(|change| match change {
            Change::Append { stream, .. } => Some(stream.as_str()),
            Change::Put { .. } | Change::Delete { .. } | Change::Expect { .. } => None,
        })
    }

    /// The same batch under another id, for a test that has to know it beforehand.
    #[cfg(feature = "test-util")]
    pub fn with_id(mut self, id: BatchId) -> Self {
        self.id = id;
        self
    }

    /// Adds events to the end of a stream, which begins with its first event.
    pub fn append(mut self, stream: impl Into<String>, append: impl Into<Append>) -> Self {
        let (stream, append) = (stream.into(), append.into());
        self.changes.push(Change::Append { stream, append });
        self
    }

    /// Gives a key a value.
    pub fn put(mut self, key: impl Into<String>, put: impl Into<Put>) -> Self {
        let (key, put) = (key.into(), put.into());
        self.changes.push(Change::Put { key, put });
        self
    }

    /// Takes a key away. One that is absent stays so, unless another state is expected.
    pub fn delete(
        mut self,
        key: impl Into<String>,
        expected: impl Into<Expected<Position>>,
    ) -> Self {
        let (key, expected) = (key.into(), expected.into());
        self.changes.push(Change::Delete { key, expected });
        self
    }

    /// Refuses the batch with a conflict unless the key is as expected, and leaves the key as it is.
    ///
    /// It is asked in its place among the changes: what the batch has changed before it counts.
    pub fn expecting(
        mut self,
        key: impl Into<String>,
        expected: impl Into<Expected<Position>>,
    ) -> Self {
        let (key, expected) = (key.into(), expected.into());
        self.changes.push(Change::Expect { key, expected });
        self
    }

    /// How much its events and values weigh.
    #[cfg(feature = "postgres")]
    pub(crate) fn value_bytes(&self) -> usize {
        let of_change = |change: &Change| match change {
            Change::Append { append, .. } => {
                let events = append.events.iter();
                events.map(|e| e.data.len() + e.metadata.len()).sum()
            }
            Change::Put { put, .. } => put.value.len(),
            Change::Delete { .. } | Change::Expect { .. } => 0,
        };
        self.changes.iter().map(of_change).sum()
    }

    /// Refuses the whole batch once a higher token was seen for the fence's name. The last fence counts.
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }
}

/// The name of a batch, by which a commit whose answer was lost is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(Uuid);

impl BatchId {
    /// An id like no other.
    #[expect(
        clippy::new_without_default,
        reason = "each is another: a default that differs every time surprises"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// From its sixteen bytes, as a backend has kept them.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({})", self.0)
    }
}

/// What must be so for a change to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Expected<T> {
    /// Nothing.
    #[default]
    Any,
    /// The stream has no event; the key has no value, or an expired one.
    Absent,
    /// The stream is at this version; the value was put at this position.
    Exactly(T),
}

impl<T> From<T> for Expected<T> {
    fn from(exactly: T) -> Self {
        Self::Exactly(exactly)
    }
}

/// Something that happened, as its writer says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub(crate) kind: String,
    pub(crate) data: Bytes,
    pub(crate) metadata: Bytes,
}

impl Event {
    /// An event of this kind. The store does not look into the data.
    pub fn new(kind: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self {
            kind: kind.into(),
            data: data.into(),
            metadata: Bytes::new(),
        }
    }

    /// What belongs to the event and is not what happened: a trace, a principal.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<Bytes>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// Events for one stream, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub(crate) events: Vec<Event>,
    pub(crate) expected: Expected<Version>,
}

impl Append {
    /// One event or many.
    pub fn new(events: impl Into<Self>) -> Self {
        events.into()
    }

    /// Refuses the batch with a conflict unless the stream is as expected.
    #[must_use]
    pub fn expecting(mut self, expected: impl Into<Expected<Version>>) -> Self {
        self.expected = expected.into();
        self
    }
}

impl From<Event> for Append {
    fn from(event: Event) -> Self {
        vec![event].into()
    }
}

impl From<Vec<Event>> for Append {
    fn from(events: Vec<Event>) -> Self {
        Self {
            events,
            expected: Expected::Any,
        }
    }
}

/// A value for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub(crate) value: Bytes,
    pub(crate) expected: Expected<Position>,
    pub(crate) expires_after: Option<Duration>,
}

impl Put {
    /// The store does not look into the value.
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self {
            value: value.into(),
            expected: Expected::Any,
            expires_after: None,
        }
    }

    /// Refuses the batch with a conflict unless the key is as expected.
    #[must_use]
    pub fn expecting(mut self, expected: impl Into<Expected<Position>>) -> Self {
        self.expected = expected.into();
        self
    }

    /// Takes the value away so long after the commit, by the store's clock, to the millisecond.
    #[must_use]
    pub fn expires_after(mut self, time: Duration) -> Self {
        self.expires_after = Some(time);
        self
    }
}

impl<T: Into<Bytes>> From<T> for Put {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// The right to write under a name as long as nobody has come with a higher token.
///
/// The store keeps the highest token seen for each name, for ever, and raises it in the same commit. Names are the
/// application's; those of claims begin with `claim:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// What is protected.
    pub name: String,
    /// Grows with every new holder.
    pub token: u64,
}

impl Fence {
    /// The fence of this name and token.
    pub fn new(name: impl Into<String>, token: u64) -> Self {
        Self {
            name: name.into(),
            token,
        }
    }
}
