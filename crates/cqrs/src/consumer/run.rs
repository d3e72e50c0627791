use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Batch, CommitError, Fence, Position, Put, Recorded, Tail, Watch, WatchError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::dead::{self, Dead, Letter, Order};
use super::options::Options;
use super::progress::{ALL, Happened, Said};
use super::sink::{Sink, SinkError};
use super::term::Term;
use super::{Consumer, Decoded, Item, Place, lag, now};

/// Feeds the sink whenever this node has the claim, until it is stopped.
pub(super) async fn run<T: Clone + Send + Sync + 'static>(
    consumer: Consumer<T>,
    mut sink: impl Sink<T>,
    stop: Arc<Notify>,
) {
    let claim = format!("cqrs/{}", consumer.name);
    loop {
        if consumer.options.is_own {
            let fence = Fence::new(&claim, 0);
            tokio::select! {
                biased;
                () = stop.notified() => return,
                _ = feed(&consumer, &mut sink, &fence) => {}
            }
            continue;
        }
        let term = tokio::select! {
            biased;
            () = stop.notified() => return,
            term = Term::begin(&consumer.log, &claim, consumer.options.ttl) => term,
        };
        let is_stopped = tokio::select! {
            biased;
            () = stop.notified() => true,
            () = term.lost() => false,
            _ = feed(&consumer, &mut sink, &term.fence) => false,
        };
        consumer.gauge.lost();
        consumer.gauge.tell(&Happened::Lost);
        term.end().await;
        if is_stopped {
            return;
        }
    }
}

/// Somebody else has taken over.
pub(super) struct Fenced;

/// What is known while one node feeds a sink.
pub(super) struct Feed<'c, T, S> {
    pub(super) consumer: &'c Consumer<T>,
    pub(super) sink: &'c mut S,
    pub(super) fence: &'c Fence,
    pub(super) dead: Dead,
    /// The sink's checkpoint.
    at: Position,
    /// As far all was looked at.
    pub(super) seen: Position,
    pub(super) orders: VecDeque<Order>,
    told_at: Option<Instant>,
}

/// A position that nothing was taken at is written down after so long.
const FLUSH: Duration = Duration::from_millis(100);
/// How far it is, is said in the log's store so often.
const TELL: Duration = Duration::from_secs(5);
/// So long the log may take to say that there is something else to do.
const BETWEEN: Duration = Duration::from_millis(20);
/// Between two looks when all is halted.
const HALTED: Duration = Duration::from_secs(1);

/// Ends when somebody else has taken over.
async fn feed<T: Clone + Send + Sync + 'static, S: Sink<T>>(
    consumer: &Consumer<T>,
    sink: &mut S,
    fence: &Fence,
) -> Fenced {
    match begin(consumer, sink, fence).await {
        Ok(mut feed) => tokio::select! {
            fenced = feed.go_on() => fenced,
            never = lag::tell(consumer) => match never {},
        },
        Err(fenced) => fenced,
    }
}

async fn begin<'c, T: Clone + Send + Sync + 'static, S: Sink<T>>(
    consumer: &'c Consumer<T>,
    sink: &'c mut S,
    fence: &'c Fence,
) -> Result<Feed<'c, T, S>, Fenced> {
    let mut attempt = 0;
    let (at, dead) = loop {
        attempt += 1;
        let error = match sink.open(fence).await {
            Ok(at) => match load(consumer).await {
                Ok(dead) => break (at, dead),
                Err(error) => error.to_string(),
            },
            Err(SinkError::Fenced) => return Err(Fenced),
            Err(SinkError::Refused(error) | SinkError::Unavailable(error)) => error,
        };
        consumer.gauge.tell(&Happened::Stalled { error });
        sleep(Options::rest(attempt)).await;
    };
    consumer.gauge.at(at, dead.count());
    consumer.gauge.tell(&Happened::Began { at });
    Ok(Feed {
        consumer,
        sink,
        fence,
        dead,
        at,
        seen: at,
        orders: VecDeque::new(),
        told_at: None,
    })
}

/// What each process has for itself forgets with it what was set aside.
async fn load<T>(consumer: &Consumer<T>) -> Result<Dead, backstay_store::Unavailable> {
    if consumer.options.is_own {
        return Ok(Dead::default());
    }
    Dead::load(&consumer.log, &consumer.name).await
}

enum Next {
    Events(Vec<Recorded>),
    Orders(Vec<Order>),
    /// Orders may have been missed.
    Look,
    Stalled(String),
    Flush,
    Slice,
}

impl<T: Clone + Send + Sync + 'static, S: Sink<T>> Feed<'_, T, S> {
    async fn go_on(&mut self) -> Fenced {
        let mut tail = self.consumer.log.tail(self.at);
        let orders = dead::orders(&self.consumer.name);
        let mut watch = self.consumer.log.watch(&orders, Position::START);
        let mut attempt = 0;
        loop {
            let next = self.next(&mut tail, &mut watch).await;
            let done = match next {
                // In turn: neither waits for the end of the other.
                Next::Events(events) => match self.events(events).await {
                    Ok(()) => self.slice().await,
                    fenced => fenced,
                },
                Next::Orders(orders) => {
                    self.orders.extend(orders);
                    Ok(())
                }
                Next::Look => {
                    self.read_orders().await;
                    Ok(())
                }
                Next::Slice => self.slice().await,
                Next::Flush => self.take(Vec::new(), self.seen).await,
                Next::Stalled(error) => {
                    attempt += 1;
                    self.consumer.gauge.tell(&Happened::Stalled { error });
                    sleep(Options::rest(attempt)).await;
                    continue;
                }
            };
            attempt = 0;
            if done.is_err() {
                return Fenced;
            }
            self.say().await;
        }
    }

    async fn next(&self, tail: &mut Tail, watch: &mut Watch) -> Next {
        let flush_at = Instant::now() + FLUSH;
        let has_orders = !self.orders.is_empty();
        let takes_orders = !self.consumer.options.is_own;
        tokio::select! {
            biased;
            changes = watch.next(), if takes_orders => match changes {
                Ok(changes) => {
                    let values = changes.into_iter().filter_map(|change| change.value);
                    Next::Orders(values.filter_map(|value| serde_json::from_slice(&value).ok()).collect())
                }
                Err(WatchError::Forgotten { until }) => {
                    let orders = dead::orders(&self.consumer.name);
                    *watch = self.consumer.log.watch(&orders, until);
                    Next::Look
                }
                Err(error) => Next::Stalled(error.to_string()),
            },
            events = tail.next() => match events {
                Ok(events) => Next::Events(events),
                Err(error) => Next::Stalled(error.to_string()),
            },
            () = sleep(BETWEEN), if has_orders => Next::Slice,
            () = sleep_until(flush_at), if self.seen > self.at => Next::Flush,
        }
    }

    /// Takes a page of the log.
    async fn events(&mut self, page: Vec<Recorded>) -> Result<(), Fenced> {
        let Some(last) = page.last() else {
            return Ok(());
        };
        let to = last.position;
        let (mut items, mut letters) = (Vec::new(), Vec::new());
        for recorded in &page {
            if !recorded.stream.starts_with(&self.consumer.prefix) {
                continue;
            }
            let (position, key) = (recorded.position, &recorded.stream);
            let decoded = self.consumer.decoded(recorded);
            if matches!(decoded, Decoded::Pass) {
                continue;
            }
            let place = Arc::new(Place::of(recorded));
            if self.dead.is_behind(key, position) {
                letters.push(Letter::new(key, &place, None));
                continue;
            }
            match decoded {
                Decoded::Item(what) => items.push(Item { place, what }),
                Decoded::Unreadable(error) => {
                    self.tell_aside(key, position, &error);
                    self.dead.add(key, position);
                    letters.push(Letter::new(key, &place, Some(error)));
                }
                Decoded::Pass => {}
            }
        }
        self.set_aside(letters).await?;
        if items.is_empty() {
            self.seen = to;
        } else {
            self.take(items, to).await?;
        }
        self.consumer.gauge.at(self.seen, self.dead.count());
        Ok(())
    }

    /// Takes all items, but those that can't be.
    async fn take(&mut self, items: Vec<Item<T>>, to: Position) -> Result<(), Fenced> {
        // Each with where the sink is then.
        let mut parts = vec![(items, to)];
        while let Some((items, to)) = parts.pop() {
            let (items, letters) = self.without_dead(items);
            self.set_aside(letters).await?;
            let Err(error) = self.take_part(&items, to).await? else {
                continue;
            };
            let middle = items.len() / 2;
            if middle > 0 {
                // One of them is the bad one.
                let mut first = items;
                let second = first.split_off(middle);
                let until = first[middle - 1].place.position;
                parts.push((second, to));
                parts.push((first, until));
                continue;
            }
            if let Some(item) = items.first() {
                let (key, position) = (item.place.stream.clone(), item.place.position);
                self.tell_aside(&key, position, &error);
                let letter = Letter::new(&key, &item.place, Some(error));
                self.set_aside(vec![letter]).await?;
                parts.push((Vec::new(), to));
            }
        }
        Ok(())
    }

    fn without_dead(&self, items: Vec<Item<T>>) -> (Vec<Item<T>>, Vec<Letter>) {
        let is_behind =
            |item: &Item<T>| self.dead.is_behind(&item.place.stream, item.place.position);
        let (behind, alive): (Vec<_>, Vec<_>) = items.into_iter().partition(is_behind);
        let letter = |item: &Item<T>| Letter::new(&item.place.stream, &item.place, None);
        (alive, behind.iter().map(letter).collect())
    }

    /// Takes these, or says why they can't be. Waits as long as the sink can't be asked.
    async fn take_part(
        &mut self,
        items: &[Item<T>],
        to: Position,
    ) -> Result<Result<(), String>, Fenced> {
        let shared: Arc<[Item<T>]> = items.into();
        let (mut refused, mut stalled) = (0, 0);
        loop {
            match self.sink.take(shared.clone(), to, self.fence).await {
                Ok(()) => {
                    (self.at, self.seen) = (to, to);
                    return Ok(Ok(()));
                }
                Err(SinkError::Fenced) => return Err(Fenced),
                Err(SinkError::Refused(error)) => {
                    refused += 1;
                    // Of many, only the bad one is worth waiting for.
                    if items.len() > 1 || refused >= self.consumer.options.attempts {
                        return Ok(Err(error));
                    }
                    sleep(Options::rest(refused)).await;
                }
                Err(SinkError::Unavailable(error)) => {
                    stalled += 1;
                    self.consumer.gauge.tell(&Happened::Stalled { error });
                    sleep(Options::rest(stalled)).await;
                    // It may have taken them.
                    match self.sink.open(self.fence).await {
                        Ok(at) if at >= to => {
                            (self.at, self.seen) = (to, to);
                            return Ok(Ok(()));
                        }
                        Err(SinkError::Fenced) => return Err(Fenced),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Puts letters into the log's store, which is where people see them.
    async fn set_aside(&mut self, letters: Vec<Letter>) -> Result<(), Fenced> {
        // Those that the store has: only of them a person can make room.
        let mut stored = self.dead.count();
        self.know(&letters);
        if letters.is_empty() || self.consumer.options.is_own {
            return Ok(());
        }
        let Consumer {
            log,
            name,
            options,
            gauge,
            ..
        } = self.consumer;
        let mut attempt = 0;
        loop {
            if stored > options.dead_limit {
                gauge.tell(&Happened::Halted { dead: stored });
                sleep(HALTED).await;
                if let Ok(dead) = Dead::load(log, name).await {
                    self.dead = dead;
                }
                // Orders are what makes room.
                if self.read_orders().await {
                    Box::pin(self.slice()).await?;
                }
                stored = self.dead.count();
                self.know(&letters);
                continue;
            }
            match dead::put(log, name, Some(self.fence), &letters).await {
                Ok(true) => break,
                Ok(false) => return Err(Fenced),
                Err(error) => {
                    attempt += 1;
                    let error = error.to_string();
                    gauge.tell(&Happened::Stalled { error });
                    sleep(Options::rest(attempt)).await;
                }
            }
        }
        Ok(())
    }

    fn know(&mut self, letters: &[Letter]) {
        for letter in letters {
            self.dead.add(&letter.key, Position::new(letter.position));
        }
    }

    fn tell_aside(&self, key: &str, position: Position, error: &str) {
        self.consumer.gauge.tell(&Happened::SetAside {
            key: key.to_owned(),
            position,
            error: error.to_owned(),
        });
    }

    /// Commits to the log's store until it has said yes.
    pub(super) async fn commit(&self, batch: Batch) -> Result<(), Fenced> {
        let batch = batch.fenced(self.fence.clone());
        let mut attempt = 0;
        loop {
            match self.consumer.log.commit(batch.clone()).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Fenced { .. }) => return Err(Fenced),
                Err(error) => {
                    attempt += 1;
                    let error = error.to_string();
                    self.consumer.gauge.tell(&Happened::Stalled { error });
                    sleep(Options::rest(attempt)).await;
                }
            }
        }
    }

    /// Says in the log's store how far it is.
    async fn say(&mut self) {
        let is_known = self.told_at.is_some_and(|at| at.elapsed() < TELL);
        if self.consumer.options.is_own || is_known {
            return;
        }
        self.told_at = Some(Instant::now());
        let said = Said {
            position: self.seen.get(),
            streams: self.consumer.prefix.clone(),
            at: now().as_millis(),
        };
        let key = format!("{ALL}{}", self.consumer.name);
        let put = Put::new(serde_json::to_vec(&said).unwrap_or_default());
        let batch = Batch::new().put(key, put);
        // It is said again.
        let _ = self
            .consumer
            .log
            .commit(batch.fenced(self.fence.clone()))
            .await;
    }
}
