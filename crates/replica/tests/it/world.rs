//! A source in a test's hand, and the way to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use backstay_replica::{
    Change, Clock, Ended, Event, Moment, News, Replica, ReplicaBuilder, Session, Source,
    SourceError, Start, Version,
};
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use tokio::select;
use tokio::sync::watch;
use tokio::time::sleep;

pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;
pub(crate) const S: fn(u64) -> Duration = Duration::from_secs;

/// What there is, and how it is reached.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    held: Mutex<Held>,
    way: watch::Sender<Way>,
    /// Counts changes.
    news: watch::Sender<u64>,
    flaw: Flaw,
    clock: Clock,
}

#[derive(Clone, Default)]
struct Held {
    version: Version,
    keys: BTreeMap<&'static str, (u64, Option<u32>)>,
    /// Changes up to here are forgotten.
    forgotten: u64,
    asked: usize,
    opened: usize,
}

/// How the way to the source is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Way {
    /// From a question to its answer.
    pub(crate) takes: Duration,
    /// Questions are not answered until this is over; what was asked before is then answered late.
    pub(crate) is_stuck: bool,
    pub(crate) fails: bool,
}

/// What is wrong with the source's own client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Flaw {
    None,
    /// The moment of a proof is that of the answer.
    CountsFromAnswer,
    /// What the server says unasked is taken for a proof.
    BelievesPushes,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Flaw::None)
    }

    pub(crate) fn with(flaw: Flaw) -> Self {
        let way = Way {
            takes: MS(10),
            is_stuck: false,
            fails: false,
        };
        let version = Version::new(1, 0);
        Self(Arc::new(Shared {
            held: Mutex::new(Held {
                version,
                ..Held::default()
            }),
            way: watch::Sender::new(way),
            news: watch::Sender::new(0),
            flaw,
            clock: Clock::tokio(),
        }))
    }

    pub(crate) fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    pub(crate) fn now(&self) -> Moment {
        self.0.clock.now()
    }

    pub(crate) fn builder(&self) -> ReplicaBuilder<&'static str, u32> {
        Replica::builder(self.clone())
            .clock(self.clock())
            .heartbeat(HEARTBEAT)
    }

    pub(crate) async fn copy(&self) -> Replica<&'static str, u32> {
        let copy = self.builder().build().expect("options");
        copy.start().await.expect("a copy")
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().expect("nobody panics")
    }

    pub(crate) fn put(&self, key: &'static str, value: Option<u32>) -> Version {
        let mut held = self.held();
        held.version.number += 1;
        let version = held.version;
        held.keys.insert(key, (version.number, value));
        drop(held);
        self.0.news.send_modify(|news| *news += 1);
        version
    }

    /// What it is now, to be restored later.
    pub(crate) fn back_up(&self) -> impl Fn(&World) + use<> {
        let backup = self.held().clone();
        move |world| {
            let mut held = world.held();
            let epoch = held.version.epoch + 1;
            (held.keys, held.forgotten) = (backup.keys.clone(), backup.forgotten);
            held.version = Version::new(epoch, backup.version.number);
            drop(held);
            world.0.news.send_modify(|news| *news += 1);
        }
    }

    /// A server that is late: what it says is as it was then.
    pub(crate) fn set(&self, version: Version, key: &'static str, value: Option<u32>) {
        let mut held = self.held();
        held.version = version;
        held.keys.insert(key, (version.number, value));
    }

    pub(crate) fn value(&self, key: &'static str) -> Option<u32> {
        self.held().keys.get(key).and_then(|(_, value)| *value)
    }

    pub(crate) fn forget(&self) {
        let mut held = self.held();
        held.forgotten = held.version.number;
    }

    pub(crate) fn way(&self, change: impl FnOnce(&mut Way)) {
        self.0.way.send_modify(change);
    }

    /// How many questions were asked.
    pub(crate) fn asked(&self) -> usize {
        self.held().asked
    }

    /// How many sessions were opened.
    pub(crate) fn opened(&self) -> usize {
        self.held().opened
    }

    /// What the server says of one key.
    pub(crate) async fn look(&self, key: &'static str) -> Result<Option<u32>, SourceError> {
        let said = self.ask().await?;
        Ok(said.keys.get(key).and_then(|(_, value)| *value))
    }

    /// What the server says to a question, half way.
    async fn ask(&self) -> Result<Held, SourceError> {
        self.held().asked += 1;
        let mut way = self.0.way.subscribe();
        let takes = way.borrow().takes;
        sleep(takes / 2).await;
        let said = self.held().clone();
        sleep(takes / 2).await;
        let way = way
            .wait_for(|way| !way.is_stuck)
            .await
            .expect("the world goes on");
        if way.fails {
            return Err(SourceError::new("the source is away"));
        }
        Ok(said)
    }
}

impl Source<&'static str, u32> for World {
    fn name(&self) -> String {
        "world".to_owned()
    }

    fn open(&self, start: Start) -> Session<&'static str, u32> {
        self.held().opened += 1;
        let follows = Follows {
            world: self.clone(),
            news: self.0.news.subscribe(),
            told: start.resume,
            is_asked: true,
            queue: Vec::new(),
            start,
        };
        try_unfold(follows, |mut follows| async move {
            Ok(Some((follows.next().await?, follows)))
        })
        .boxed()
    }
}

struct Follows {
    world: World,
    start: Start,
    news: watch::Receiver<u64>,
    told: Option<Version>,
    is_asked: bool,
    /// The last is next.
    queue: Vec<News<&'static str, u32>>,
}

impl Follows {
    async fn next(&mut self) -> Result<News<&'static str, u32>, SourceError> {
        if let Some(news) = self.queue.pop() {
            return Ok(news);
        }
        let flaw = self.world.0.flaw;
        if !self.is_asked {
            let is_pushed = select! {
                biased;
                () = self.start.nudged() => false,
                _ = self.news.changed() => true,
                () = sleep(HEARTBEAT) => false,
            };
            self.is_asked = true;
            if is_pushed && self.told.is_some() {
                let said = self.world.held().clone();
                return Ok(self.changes(&said, None));
            }
        }
        let mut asked = self.start.clock.now();
        if flaw == Flaw::BelievesPushes {
            // The server sends a sign of life now and then; the way delays it, and nobody knows for how long.
            let said = self.world.held().clone();
            sleep(S(3)).await;
            self.is_asked = false;
            let now = self.start.clock.now();
            return Ok(self.changes(&said, Some(now)));
        }
        let said = self.world.ask().await?;
        if flaw == Flaw::CountsFromAnswer {
            asked = self.start.clock.now();
        }
        self.is_asked = false;
        Ok(self.changes(&said, Some(asked)))
    }

    fn changes(&mut self, said: &Held, asked: Option<Moment>) -> News<&'static str, u32> {
        let upto = said.version;
        let told = self.told.replace(upto);
        let after = told.filter(|told| told.epoch == upto.epoch && told.number >= said.forgotten);
        let from = after.map_or(0, |after| after.number);
        let changes = said.keys.iter().filter(|(_, (number, _))| *number > from);
        let changes = changes.map(|(key, (number, value))| Change {
            key: *key,
            number: *number,
            value: *value,
        });
        let mut changes: Vec<_> = changes.collect();
        changes.sort_by_key(|change| change.number);
        if let Some(after) = after {
            return News::Changes {
                after,
                upto: upto.max(after),
                changes,
                asked: asked.filter(|_| upto >= after),
            };
        }
        if let Some(asked) = asked {
            self.queue.push(News::Complete {
                version: upto,
                asked,
            });
        }
        self.queue.push(News::Page(changes));
        News::Snapshot(upto)
    }
}

/// Events as they are heard.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<Event>>>);

impl Heard {
    pub(crate) fn hear(&self) -> impl Fn(&Event) + Send + Sync + use<> {
        let all = self.0.clone();
        move |event| all.lock().expect("nobody panics").push(event.clone())
    }

    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().expect("nobody panics").clone()
    }

    pub(crate) fn ends(&self) -> Vec<Ended> {
        let ends = self.all().into_iter().filter_map(|event| match event {
            Event::SessionEnded { reason, .. } => Some(reason),
            _ => None,
        });
        ends.collect()
    }

    pub(crate) fn synced(&self) -> Vec<Version> {
        let synced = self.all().into_iter().filter_map(|event| match event {
            Event::Synced { version, .. } => Some(version),
            _ => None,
        });
        synced.collect()
    }
}
