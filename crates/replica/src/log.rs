//! A copy that is folded from a store's events.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use backstay_core::Moment;
use backstay_store::{Position, Recorded, Store};
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use tokio::select;

use crate::keys::{PAGE, epoch};
use crate::{Change, News, Session, Source, SourceError, Start, Version};

/// What an event says of the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<K, V> {
    /// From here on the key has this value.
    Is(K, V),
    /// From here on the key is not there.
    Gone(K),
    /// Nothing.
    Nothing,
}

type BoxError = Box<dyn Error + Send + Sync>;
type Reads<K, V> = dyn Fn(&Recorded) -> Result<Told<K, V>, BoxError> + Send + Sync;

/// What a store's events come to: each sets one key, deletes one, or says nothing.
///
/// The number of a version is a position of the store, so that [`at_least`](crate::Replica::at_least) waits for what a commit
/// has returned. The store's epoch is kept as [`StoreSource`](crate::StoreSource) keeps it.
///
/// A first copy reads all events of the store, from the first one on. Where they are many, have a read side of `backstay-cqrs` keep
/// keys, and copy those.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use backstay_replica::{LogSource, MaxAge, Replica, Told};
/// use backstay_store::{Batch, Event, MemoryStore, Recorded};
///
/// fn price(event: &Recorded) -> Result<Told<String, u32>, Box<dyn std::error::Error + Send + Sync>> {
///     let item = event.stream.clone();
///     Ok(match event.kind.as_str() {
///         "priced" => Told::Is(item, std::str::from_utf8(&event.data)?.parse()?),
///         "withdrawn" => Told::Gone(item),
///         _ => Told::Nothing,
///     })
/// }
///
/// let store = MemoryStore::new().into_store();
/// store.commit(Batch::new().append("tea", Event::new("priced", "250"))).await?;
/// let source = LogSource::new(store, "prices", price);
/// let prices: Replica<String, u32> = Replica::builder(source).build()?.start().await?;
/// let reading = prices.get("tea", MaxAge::secs(1)).await?;
/// assert_eq!(reading.value.as_deref(), Some(&250));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct LogSource<K, V> {
    store: Store,
    name: String,
    read: Arc<Reads<K, V>>,
}

impl<K, V> LogSource<K, V> {
    /// What `read` makes of a store's events.
    ///
    /// The name is of what it makes, for events, metrics and the file of a warm start. An event that `read` fails on ends the
    /// session; the copy then stays as it is, and gets older.
    pub fn new(
        store: impl Into<Store>,
        name: impl Into<String>,
        read: impl Fn(&Recorded) -> Result<Told<K, V>, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            store: store.into(),
            name: name.into(),
            read: Arc::new(read),
        }
    }
}

impl<K: Send + 'static, V: Send + 'static> Source<K, V> for LogSource<K, V> {
    fn name(&self) -> String {
        format!("log:{}", self.name)
    }

    fn open(&self, start: Start) -> Session<K, V> {
        let follows = Follows {
            store: self.store.clone(),
            read: self.read.clone(),
            start,
            state: State::New,
        };
        try_unfold(follows, |mut follows| async move {
            let news = follows.next().await?;
            Ok(Some((news, follows)))
        })
        .boxed()
    }
}

struct Follows<K, V> {
    store: Store,
    read: Arc<Reads<K, V>>,
    start: Start,
    state: State,
}

enum State {
    New,
    /// Events after this are still to be read.
    Reading(Version),
    Read {
        version: Version,
        asked: Moment,
    },
    Following {
        told: Version,
        /// Whether a proof is wanted at once.
        is_asked: bool,
    },
}

/// Events as they came at one time.
struct Look<K, V> {
    changes: Vec<Change<K, V>>,
    /// All up to here were read.
    upto: u64,
    /// Where the store was before.
    head: u64,
    /// Before the questions, if there is no more.
    asked: Option<Moment>,
}

impl<K, V> Follows<K, V> {
    async fn next(&mut self) -> Result<News<K, V>, SourceError> {
        match std::mem::replace(&mut self.state, State::New) {
            State::New => self.begin().await,
            State::Reading(from) => self.go_through(from).await,
            State::Read { version, asked } => {
                self.following(version, true);
                Ok(News::Complete { version, asked })
            }
            State::Following { told, is_asked } => self.follow(told, is_asked).await,
        }
    }

    async fn begin(&mut self) -> Result<News<K, V>, SourceError> {
        let epoch = epoch(&self.store, self.start.held).await?;
        if let Some(resume) = self.start.resume.filter(|resume| resume.epoch == epoch) {
            return self.follow(resume, true).await;
        }
        let head = self.store.head().await.map_err(SourceError::new)?;
        self.state = State::Reading(Version::new(epoch, 0));
        Ok(News::Snapshot(Version::new(epoch, head.get())))
    }

    async fn go_through(&mut self, from: Version) -> Result<News<K, V>, SourceError> {
        let look = self.look(from).await?;
        let version = from.at(look.upto);
        self.state = match look.asked {
            Some(asked) => State::Read { version, asked },
            None => State::Reading(version),
        };
        Ok(News::Page(look.changes))
    }

    async fn follow(&mut self, told: Version, is_asked: bool) -> Result<News<K, V>, SourceError> {
        if !is_asked {
            let next = Position::new(told.number + 1);
            // Whatever it says is seen by the next look.
            select! {
                biased;
                () = self.start.nudged() => {}
                _ = self.store.wait_for(next, self.start.heartbeat) => {}
            }
        }
        let look = self.look(told).await?;
        if look.head < told.number {
            // The store has gone back; the replica ends the session for that.
            let asked = self.start.clock.now();
            return Ok(News::proof(told.at(look.head), asked));
        }
        let upto = told.at(look.upto);
        self.following(upto, look.asked.is_some());
        Ok(News::answer(told, upto, look.changes, look.asked))
    }

    fn following(&mut self, told: Version, is_proved: bool) {
        let is_asked = !is_proved;
        self.state = State::Following { told, is_asked };
    }

    async fn look(&self, after: Version) -> Result<Look<K, V>, SourceError> {
        let asked = self.start.clock.now();
        let head = self.store.head().await.map_err(SourceError::new)?;
        let after = Position::new(after.number);
        let events = self.store.read_all(after, PAGE).await;
        let events = events.map_err(SourceError::new)?;
        let is_all = events.len() < PAGE as usize;
        let last = events.last().map_or(after, |last| last.position);
        // What is committed later lies after the head.
        let upto = if is_all { last.max(head) } else { last };
        let changes = events.iter().filter_map(|event| self.change(event));
        Ok(Look {
            changes: changes.collect::<Result<_, _>>()?,
            upto: upto.get(),
            head: head.get(),
            asked: is_all.then_some(asked),
        })
    }

    fn change(&self, event: &Recorded) -> Option<Result<Change<K, V>, SourceError>> {
        let (key, value) = match (self.read)(event) {
            Ok(Told::Is(key, value)) => (key, Some(value)),
            Ok(Told::Gone(key)) => (key, None),
            Ok(Told::Nothing) => return None,
            Err(reason) => {
                let (stream, version) = (event.stream.clone(), event.version.get());
                let unreadable = Unreadable {
                    stream,
                    version,
                    reason,
                };
                return Some(Err(SourceError::new(unreadable)));
            }
        };
        let number = event.position.get();
        Some(Ok(Change { key, number, value }))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("event {version} of {stream:?} can't be read")]
struct Unreadable {
    stream: String,
    version: u64,
    #[source]
    reason: BoxError,
}

impl<K, V> fmt::Debug for LogSource<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogSource").field(&self.name).finish()
    }
}
