use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{
    Batch, Change, CommitError, Fence, Position, Put, Recorded, Tail, Unavailable, Watch,
    WatchError,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::dead::{self, Dead, Given, Letter};
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
                () = async { _ = feed(&consumer, &mut sink, &fence).await; sleep(AGAIN).await } => {}
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
        say(&consumer, &term.fence).await;
        consumer.gauge.lost();
        consumer.gauge.tell(&Happened::Lost);
        term.end().await;
        if is_stopped {
            return;
        }
        // Whoever has a higher fence than this claim's gives way to none of its terms.
        tokio::select! {
            biased;
            () = stop.notified() => return,
            () = sleep(AGAIN) => {}
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
    /// Since when that is further.
    ahead_since: Option<Instant>,
    pub(super) orders: VecDeque<Given>,
    /// Orders may be there that were not heard of.
    pub(super) has_missed: bool,
    /// How far it was when that was said last.
    said: Option<(Position, Instant)>,
}

/// What is being read. A question that takes long is waited for, whatever else there is to do meanwhile.
struct Reads {
    events: BoxFuture<'static, (Tail, Result<Vec<Recorded>, Unavailable>)>,
    orders: BoxFuture<'static, (Watch, Result<Vec<Change>, WatchError>)>,
}

fn events_of(mut tail: Tail) -> BoxFuture<'static, (Tail, Result<Vec<Recorded>, Unavailable>)> {
    async move {
        let events = tail.next().await;
        (tail, events)
    }
    .boxed()
}

fn orders_of(mut watch: Watch) -> BoxFuture<'static, (Watch, Result<Vec<Change>, WatchError>)> {
    async move {
        let changes = watch.next().await;
        (watch, changes)
    }
    .boxed()
}

/// A position that nothing was taken at is written down after so long.
const FLUSH: Duration = Duration::from_millis(100);
/// How far it is, is said in the log's store so often.
const TELL: Duration = Duration::from_secs(1);
/// And so often where it does not move.
const ALIVE: Duration = Duration::from_secs(24 * 3_600);
/// A consumer that nobody has fed for so long is one no more.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);
/// So long the log may take to say that there is something else to do.
const BETWEEN: Duration = Duration::from_millis(20);
pub(super) const AGAIN: Duration = Duration::from_millis(100);

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
            Ok(at) => match load(consumer, at).await {
                Ok(dead) => break (at, dead),
                Err(error) => error,
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
        ahead_since: None,
        orders: VecDeque::new(),
        has_missed: false,
        said: None,
    })
}

/// What was set aside. What each process has for itself forgets it with the process.
async fn load<T>(consumer: &Consumer<T>, at: Position) -> Result<Dead, String> {
    let head = consumer.log.head().await;
    let head = head.map_err(|error| error.to_string())?;
    if at > head {
        // To go on would be to miss what comes up to there.
        return Err(format!(
            "it is at position {at}, and the log ends at {head}: was the log restored from a backup?"
        ));
    }
    if consumer.options.is_own {
        return Ok(Dead::default());
    }
    let dead = Dead::load(&consumer.log, &consumer.name).await;
    dead.map_err(|error| error.to_string())
}

enum Next {
    Events(Vec<Recorded>),
    Orders(Vec<Given>),
    /// Orders may have been missed.
    Look,
    Stalled(String),
    Flush,
    Slice,
    Say,
}

impl<T: Clone + Send + Sync + 'static, S: Sink<T>> Feed<'_, T, S> {
    async fn go_on(&mut self) -> Fenced {
        let orders = dead::orders(&self.consumer.name);
        let mut reads = Reads {
            events: events_of(self.consumer.log.tail(self.at)),
            orders: orders_of(self.consumer.log.watch(&orders, Position::START)),
        };
        self.say().await;
        let mut attempt = 0;
        loop {
            let stalled = match self.next(&mut reads).await {
                // In turn: neither waits for the end of the other.
                Next::Events(events) => match self.events(events).await {
                    Ok(()) => self.slice().await.map(|()| None),
                    Err(fenced) => Err(fenced),
                },
                Next::Orders(orders) => {
                    self.orders.extend(orders);
                    Ok(None)
                }
                Next::Look => Ok(self.read_orders().await.err()),
                Next::Slice => self.slice().await.map(|()| None),
                Next::Flush => {
                    // Where it fails, others have their turn before the next.
                    self.ahead_since = Some(Instant::now());
                    self.take(Vec::new(), self.seen).await.map(|()| None)
                }
                Next::Say => Ok(None),
                Next::Stalled(error) => Ok(Some(error)),
            };
            match stalled {
                Ok(None) => attempt = 0,
                Ok(Some(error)) => {
                    attempt += 1;
                    self.consumer.gauge.tell(&Happened::Stalled { error });
                    sleep(Options::rest(attempt)).await;
                    continue;
                }
                Err(fenced) => return fenced,
            }
            self.say().await;
        }
    }

    async fn next(&mut self, reads: &mut Reads) -> Next {
        if self.has_missed {
            return Next::Look;
        }
        let flush_at = self.ahead_since.map(|since| since + FLUSH);
        let say_at = self.said.map(|(said, at)| {
            let is_new = said != self.seen;
            at + if is_new { TELL } else { ALIVE }
        });
        let has_orders = !self.orders.is_empty();
        let takes_orders = !self.consumer.options.is_own;
        // Due before anything else, so that a busy log does not put it off.
        if flush_at.is_some_and(|at| at <= Instant::now()) {
            return Next::Flush;
        }
        tokio::select! {
            biased;
            (watch, changes) = &mut reads.orders, if takes_orders => match changes {
                Ok(changes) => {
                    reads.orders = orders_of(watch);
                    Next::Orders(changes.iter().filter_map(Given::changed).collect())
                }
                Err(WatchError::Forgotten { until }) => {
                    let orders = dead::orders(&self.consumer.name);
                    reads.orders = orders_of(self.consumer.log.watch(&orders, until));
                    self.has_missed = true;
                    Next::Look
                }
                Err(error) => {
                    reads.orders = orders_of(watch);
                    Next::Stalled(error.to_string())
                }
            },
            (tail, events) = &mut reads.events => {
                reads.events = events_of(tail);
                events.map_or_else(|error| Next::Stalled(error.to_string()), Next::Events)
            }
            () = sleep(BETWEEN), if has_orders => Next::Slice,
            () = sleep_until(flush_at.unwrap_or_else(Instant::now)), if flush_at.is_some() => Next::Flush,
            () = sleep_until(say_at.unwrap_or_else(Instant::now)), if say_at.is_some() => Next::Say,
        }
    }

    /// The sink is there.
    pub(super) fn is_at(&mut self, to: Position) {
        (self.at, self.seen, self.ahead_since) = (to, to, None);
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
            self.ahead_since.get_or_insert_with(Instant::now);
        } else {
            self.take(items, to).await?;
        }
        self.consumer.gauge.at(self.seen, self.dead.count());
        Ok(())
    }

    /// Commits to the log's store until it has said yes, or that somebody else was first.
    pub(super) async fn commit(&self, batch: Batch) -> Result<(), Fenced> {
        let batch = batch.fenced(self.fence.clone());
        let mut attempt = 0;
        loop {
            match self.consumer.log.commit(batch.clone()).await {
                Ok(_) | Err(CommitError::Conflict(_)) => return Ok(()),
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

    async fn say(&mut self) {
        let is_known = self.said.is_some_and(|(_, at)| at.elapsed() < TELL);
        if self.consumer.options.is_own || is_known {
            return;
        }
        self.said = Some((self.seen, Instant::now()));
        self.consumer.gauge.at(self.seen, self.dead.count());
        say(self.consumer, self.fence).await;
    }
}

/// Says in the log's store how far it is. What is lost is said again.
async fn say<T>(consumer: &Consumer<T>, fence: &Fence) {
    let progress = *consumer.gauge.progress.borrow();
    if !progress.is_here {
        return;
    }
    let said = Said {
        position: progress.position.get(),
        streams: consumer.prefix.clone(),
        at: now().as_millis(),
    };
    let key = format!("{ALL}{}", consumer.name);
    let put = Put::new(serde_json::to_vec(&said).unwrap_or_default());
    let batch = Batch::new().put(key, put.expires_after(KNOWN_FOR));
    let _ = consumer.log.commit(batch.fenced(fence.clone())).await;
}
