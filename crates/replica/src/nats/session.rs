use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::Ordered;
use backstay_core::Moment;
use futures_util::{FutureExt, StreamExt};
use tokio::select;
use tokio::time::{Instant, sleep_until, timeout};

use super::bucket::Bucket;
use crate::names::{Memory, Names};
use crate::{Change, Codec, News, SourceError, Start, Version, lineage};

/// As many messages are taken before something is told.
const PAGE: usize = 500;
/// A message that should come takes less; when none has come it is asked whether there is one.
const LULL: Duration = Duration::from_millis(100);
/// So often the count of names may be above what came: of messages that are on their way.
const MISCOUNTS: u32 = 5;

/// Follows a bucket.
pub(super) struct Follows<K, V> {
    bucket: Bucket,
    prefix: String,
    codec: Codec<K, V>,
    start: Start,
    /// Of all the bucket, those that were deleted among them, as of the last message that came.
    names: Names,
    state: State,
}

enum State {
    New,
    Loading(Place),
    /// All of a snapshot was told.
    Loaded {
        asked: Moment,
        place: Place,
    },
    Following {
        place: Place,
        prove_at: Instant,
    },
}

/// Where a session is in the stream.
struct Place {
    messages: Ordered,
    epoch: u64,
    made: [u8; 16],
    /// The last message that came.
    last: u64,
    /// Whether there was nothing else at the moment when that was sent.
    ///
    /// A message that was replaced by a later one does not come, so after one that is missing something is still to come.
    is_all: bool,
    miscounts: u32,
}

impl Place {
    fn version(&self) -> Version {
        Version::new(self.epoch, self.last)
    }
}

/// What the leader has said, and what has come up to there.
enum Look<K, V> {
    /// With the moment before the question, if there was no more.
    Changes(Vec<Change<K, V>>, Option<Moment>),
    /// Names are missing that were told, and no message says so.
    Vanished(Vec<Change<K, V>>, Moment),
    /// Another bucket has this name now.
    Another,
    /// The bucket is where it was long ago.
    Behind(u64, Moment),
}

impl<K, V> Follows<K, V> {
    pub(super) fn new(
        bucket: Bucket,
        prefix: String,
        codec: Codec<K, V>,
        memory: &Memory,
        start: Start,
    ) -> Self {
        Self {
            bucket,
            prefix,
            codec,
            names: Names::of(memory, start.resume),
            start,
            state: State::New,
        }
    }

    pub(super) async fn next(&mut self) -> Result<News<K, V>, SourceError> {
        match std::mem::replace(&mut self.state, State::New) {
            State::New => self.begin().await,
            State::Loading(place) => self.load(place).await,
            State::Loaded { asked, place } => {
                let version = place.version();
                self.following(place);
                Ok(News::Complete { version, asked })
            }
            State::Following { place, prove_at } => self.follow(place, prove_at).await,
        }
    }

    async fn begin(&mut self) -> Result<News<K, V>, SourceError> {
        let now = self.bucket.head().await?;
        let held = self.start.held;
        let epoch = lineage::epoch(held, &now.made, now.last);
        let Some(told) = self.names.told().filter(|told| told.epoch == epoch) else {
            return self.snapshot(held).await;
        };
        let start_sequence = told.number + 1;
        let from = DeliverPolicy::ByStartSequence { start_sequence };
        let place = Place {
            messages: self.bucket.messages(from).await?,
            epoch,
            made: now.made,
            last: told.number,
            is_all: false,
            miscounts: 0,
        };
        self.prove(place).await
    }

    async fn snapshot(&mut self, held: Option<Version>) -> Result<News<K, V>, SourceError> {
        let now = self.bucket.head().await?;
        self.names.clear();
        let place = Place {
            messages: self.bucket.messages(DeliverPolicy::LastPerSubject).await?,
            epoch: lineage::epoch(held, &now.made, now.last),
            made: now.made,
            last: 0,
            is_all: false,
            miscounts: 0,
        };
        let began = Version::new(place.epoch, now.last);
        self.state = State::Loading(place);
        Ok(News::Snapshot(began))
    }

    async fn load(&mut self, mut place: Place) -> Result<News<K, V>, SourceError> {
        match self.look(&mut place).await? {
            Look::Changes(page, asked) => {
                self.state = match asked {
                    Some(asked) => State::Loaded { asked, place },
                    None if place.miscounts > MISCOUNTS => return Err(miscounted()),
                    None => State::Loading(place),
                };
                Ok(News::Page(page))
            }
            Look::Vanished(mut page, asked) => {
                let listed = self.bucket.names().await?;
                for name in self.names.retain(&listed) {
                    page.extend(self.change(&name, place.last, None)?);
                }
                self.state = State::Loaded { asked, place };
                Ok(News::Page(page))
            }
            Look::Another | Look::Behind(..) => Err(SourceError::new(
                "another history before the snapshot's end",
            )),
        }
    }

    async fn follow(
        &mut self,
        mut place: Place,
        prove_at: Instant,
    ) -> Result<News<K, V>, SourceError> {
        let message = select! {
            biased;
            () = self.start.nudged() => None,
            () = sleep_until(prove_at) => None,
            message = place.messages.next() => Some(message),
        };
        let Some(message) = message else {
            return self.prove(place).await;
        };
        let after = place.version();
        let mut changes = Vec::from_iter(self.take(&mut place, message)?);
        for _ in 1..PAGE {
            let Some(message) = place.messages.next().now_or_never() else {
                break;
            };
            changes.extend(self.take(&mut place, message)?);
        }
        let upto = place.version();
        self.names.tell(upto);
        self.state = State::Following { place, prove_at };
        let asked = None;
        Ok(News::Changes {
            after,
            upto,
            changes,
            asked,
        })
    }

    async fn prove(&mut self, mut place: Place) -> Result<News<K, V>, SourceError> {
        let after = place.version();
        match self.look(&mut place).await? {
            Look::Changes(changes, asked) if place.miscounts <= MISCOUNTS => {
                let upto = place.version();
                if asked.is_some() {
                    self.following(place);
                } else {
                    self.names.tell(upto);
                    let prove_at = Instant::now();
                    self.state = State::Following { place, prove_at };
                }
                Ok(News::answer(after, upto, changes, asked))
            }
            // The replica ends the session for that; if it is so again in the next one, that is another epoch.
            Look::Behind(last, asked) => Ok(News::proof(after.at(last), asked)),
            Look::Changes(..) | Look::Vanished(..) | Look::Another => {
                self.snapshot(Some(after)).await
            }
        }
    }

    fn following(&mut self, place: Place) {
        self.names.prove(place.version());
        let prove_at = Instant::now() + self.start.heartbeat;
        self.state = State::Following { place, prove_at };
    }

    /// Asks the leader, and takes what comes until all that it speaks of has come.
    async fn look(&mut self, place: &mut Place) -> Result<Look<K, V>, SourceError> {
        let asked = self.start.clock.now();
        let head = self.bucket.head().await?;
        if head.made != place.made {
            return Ok(Look::Another);
        }
        if head.last < place.last {
            return Ok(Look::Behind(head.last, asked));
        }
        let (mut changes, mut names) = (Vec::new(), self.names.len());
        let mut taken = 0;
        while place.last < head.last || !place.is_all {
            // Also of keys that the copy leaves out: the replica wants to hear something.
            if taken == PAGE {
                return Ok(Look::Changes(changes, None));
            }
            if let Ok(message) = timeout(LULL, place.messages.next()).await {
                taken += 1;
                changes.extend(self.take(place, message)?);
                if place.last <= head.last {
                    names = self.names.len();
                }
            } else if !self.bucket.has_more(place.last).await? {
                place.last = place.last.max(head.last);
                place.is_all = true;
            }
        }
        if head.names < names {
            return Ok(Look::Vanished(changes, asked));
        }
        // Above: a name that is new at the head and was written again since, so that its first message never comes.
        let adds_up = head.names == names;
        place.miscounts = if adds_up { 0 } else { place.miscounts + 1 };
        Ok(Look::Changes(changes, adds_up.then_some(asked)))
    }

    fn take(
        &mut self,
        place: &mut Place,
        message: Option<Result<Message, impl Into<BoxError>>>,
    ) -> Result<Option<Change<K, V>>, SourceError> {
        let message = message.ok_or_else(|| SourceError::new("the messages have ended"))?;
        let message = message.map_err(SourceError::new)?;
        let info = message.info().map_err(SourceError::new)?;
        let sequence = info.stream_sequence;
        if sequence <= place.last {
            return Ok(None);
        }
        place.is_all = info.pending == 0 || (place.is_all && sequence == place.last + 1);
        place.last = sequence;
        let Some(name) = self.bucket.key(&message.subject) else {
            return Ok(None);
        };
        self.names.insert(name, sequence);
        let value = (!is_gone(&message)).then_some(&*message.payload);
        self.change(name, sequence, value)
    }

    fn change(
        &self,
        name: &str,
        number: u64,
        value: Option<&[u8]>,
    ) -> Result<Option<Change<K, V>>, SourceError> {
        let key = name.strip_prefix(&self.prefix);
        key.map(|key| self.codec.change(key, number, value))
            .transpose()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn miscounted() -> SourceError {
    SourceError::new("the bucket has more keys than it brings")
}

/// Whether it says that its key was deleted, by a client or, from NATS 2.11 on, by the server.
fn is_gone(message: &Message) -> bool {
    let has = |name| message.headers.as_ref().and_then(|all| all.get(name));
    has("Nats-Marker-Reason").is_some()
        || has("KV-Operation").is_some_and(|it| it.as_str() != "PUT")
}
