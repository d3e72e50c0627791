//! Everything is cut off at each of its steps, and begun again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backstay_cqrs::{
    Documents, InProcess, Inbox, Operator, Projection, Received, Relay, Seen, Taken,
};
use backstay_store::{
    Backend, Batch, Between, Commit, CommitError, MemoryStore, Pending, Position, SqliteStore,
    Store, TestClock, Timestamp,
};
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::world::{Command, Event, commands, events, file};

/// Counts steps, and lets nothing go on from one of them until it is mended.
#[derive(Clone, Debug)]
struct Cut {
    left: Arc<AtomicUsize>,
    struck: watch::Sender<bool>,
    mended: watch::Sender<bool>,
}

impl Cut {
    fn after(steps: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(steps)),
            struck: watch::Sender::new(false),
            mended: watch::Sender::new(false),
        }
    }

    async fn step(&self) {
        let less = |left: usize| left.checked_sub(1);
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        if self.left.fetch_update(set, fetch, less).is_err() {
            self.struck.send_replace(true);
            let mut mended = self.mended.subscribe();
            let _ = mended.wait_for(|mended| *mended).await;
        }
    }

    async fn struck(&self) {
        let mut struck = self.struck.subscribe();
        let _ = struck.wait_for(|struck| *struck).await;
    }
}

/// A way to a store on which each commit is a step before and one after it.
#[derive(Debug)]
struct Way {
    store: Arc<MemoryStore>,
    cut: Cut,
}

impl Between for Way {
    type Below = MemoryStore;

    fn below(&self) -> &MemoryStore {
        &self.store
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        async move {
            self.cut.step().await;
            let answer = self.store.commit(batch).await;
            self.cut.step().await;
            answer
        }
        .boxed()
    }
}

/// What is there whatever is cut off.
struct Ground {
    log: Arc<MemoryStore>,
    views: Arc<MemoryStore>,
    clock: TestClock,
    /// Of the other service, with a table of what it has done.
    theirs: SqliteStore,
}

const TTL: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(20);
const COMMANDS: [(&str, u64); 5] = [("1", 10), ("2", 20), ("1", 3), ("2", 4), ("1", 5)];

fn documents(log: &Store, views: &Store) -> Documents<u64> {
    let projection = Projection::new(log.clone(), "sums", "account", events()).ttl(TTL);
    let keys = |seen: &Seen<Event>| vec![seen.id().to_owned()];
    let change = |before: Option<u64>, seen: &Seen<Event>| match seen.event() {
        Event::Deposited { cents } => Some(before.unwrap_or_default() + cents),
        Event::Withdrawn { cents } => Some(before.unwrap_or_default() - cents),
    };
    projection.documents(views.clone(), keys, change).unwrap()
}

fn way(store: &Arc<MemoryStore>, cut: &Cut) -> Store {
    Store::new(Way {
        store: store.clone(),
        cut: cut.clone(),
    })
}

/// Takes what comes, until it is cut off.
async fn take(theirs: SqliteStore, name: String, mut from: mpsc::Receiver<Received>, cut: Cut) {
    let inbox = Inbox::new(&theirs, &*name).unwrap();
    while let Some(received) = from.recv().await {
        cut.step().await;
        let message = received.message().clone();
        let (id, key) = (message.id.clone(), message.key.clone());
        let name = name.clone();
        let taken = inbox.take(&message, move |rows| {
            let sql = "INSERT INTO taken (world, key, id) VALUES (?1, ?2, ?3)";
            rows.execute(sql, (&name, &key, &id)).map(drop)
        });
        let taken: Taken<()> = taken.await.unwrap();
        let _ = taken;
        cut.step().await;
        received.taken();
    }
}

/// Runs all until it is cut off, or everything has arrived. Answers whether it was not.
async fn live(ground: &Ground, name: &str, cut: &Cut) -> bool {
    let (log, views) = (way(&ground.log, cut), way(&ground.views, cut));
    let sums = documents(&log, &views);
    let (out, received) = InProcess::new(10);
    let relay = Relay::new(log.clone(), "to-them", "account", "/accounts").ttl(TTL);
    let relaying = relay.start(out).unwrap();
    let taking = take(
        ground.theirs.clone(),
        name.to_owned(),
        received,
        cut.clone(),
    );
    let taking = tokio::spawn(taking);
    let all = async {
        let accounts = commands(&log);
        let mut last = Position::START;
        for (number, (id, cents)) in COMMANDS.iter().enumerate() {
            let key = number.to_string();
            let command = Command::Deposit(*cents);
            let done = accounts.execute_once(id, &key, &command).await.unwrap();
            last = last.max(done.position);
        }
        sums.at_least(last, LONG).await.unwrap();
        relaying.at_least(last, LONG).await.unwrap();
    };
    let is_whole = tokio::select! {
        () = cut.struck() => false,
        () = all => true,
    };
    taking.abort();
    is_whole
}

/// CQ-2, CQ-5: wherever command, relay, transport, consumer and read side are cut off, all that was written arrives, each effect is
/// there once and in order, and the read side has taken what the write side has.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_wherever_it_is_cut() {
    let (_folder, theirs) = file().await;
    let rows = backstay_store::sqlite::rusqlite::Connection::open(theirs.path()).unwrap();
    rows.execute_batch(
        "CREATE TABLE taken (number INTEGER PRIMARY KEY, world TEXT, key TEXT, id TEXT)",
    )
    .unwrap();
    let mut steps = 0;
    loop {
        let clock = TestClock::at(Timestamp::from_millis(1_800_000_000_000));
        let ground = Ground {
            log: MemoryStore::with_clock(clock.clone()).into(),
            views: MemoryStore::with_clock(clock.clone()).into(),
            clock,
            theirs: theirs.clone(),
        };
        let name = format!("world-{steps}");
        let is_whole = timeout(LONG, live(&ground, &name, &Cut::after(steps))).await;
        let is_whole = is_whole.unwrap_or_else(|_| panic!("cut after {steps}"));
        // What was cut off has ended, and what it claimed is free again.
        sleep(Duration::from_millis(20)).await;
        ground.clock.advance(2 * TTL);
        let again = timeout(LONG, live(&ground, &name, &Cut::after(usize::MAX))).await;
        assert_eq!(again, Ok(true), "after {steps}");
        check(&ground, &rows, &name).await;
        if is_whole {
            break;
        }
        steps += 1;
    }
    assert!(steps > 20, "{steps}");
}

async fn check(ground: &Ground, rows: &backstay_store::sqlite::rusqlite::Connection, name: &str) {
    let never = Cut::after(usize::MAX);
    let (log, views) = (way(&ground.log, &never), way(&ground.views, &never));
    let sums: Documents<u64> = Documents::reader(views, "sums");
    assert_eq!(sums.get("1").await.unwrap(), Some(18), "{name}");
    assert_eq!(sums.get("2").await.unwrap(), Some(24), "{name}");
    let read = sums.checksum().await.unwrap();
    let operator = Operator::new(log);
    let written = operator.checksum("sums", "account", read.position).await;
    assert_eq!(written.unwrap(), read, "{name}");
    let sql = "SELECT key, id FROM taken WHERE world = ?1 ORDER BY number";
    let mut taken = rows.prepare(sql).unwrap();
    let taken = taken.query_map([name], |row| Ok((row.get(0)?, row.get(1)?)));
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in taken.unwrap() {
        let (key, id): (String, String) = row.unwrap();
        by_key.entry(key).or_default().push(id);
    }
    assert_eq!(
        by_key["account/1"],
        ["account/1/1", "account/1/2", "account/1/3"],
        "{name}"
    );
    assert_eq!(
        by_key["account/2"],
        ["account/2/1", "account/2/2"],
        "{name}"
    );
}

/// CQ-2: a node that was stopped in the middle and replaced puts nothing into the model when it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_replaced_puts_nothing_in() {
    let clock = TestClock::at(Timestamp::from_millis(1_800_000_000_000));
    let log: Arc<MemoryStore> = MemoryStore::with_clock(clock.clone()).into();
    let views: Arc<MemoryStore> = MemoryStore::with_clock(clock.clone()).into();
    let never = Cut::after(usize::MAX);
    let accounts = commands(&way(&log, &never));
    let mut stopped = 0;
    // At each of its commits to the model's store.
    loop {
        let first = accounts.execute("1", &Command::Deposit(1)).await.unwrap();
        let cut = Cut::after(stopped);
        let zombie = documents(&way(&log, &never), &way(&views, &cut));
        let arrived = zombie.at_least(first.position, Duration::from_secs(1));
        let is_whole = tokio::select! {
            () = cut.struck() => false,
            arrived = arrived => arrived.is_ok(),
        };
        clock.advance(2 * TTL);
        let next = documents(&way(&log, &never), &way(&views, &never));
        let done = accounts.execute("1", &Command::Deposit(1)).await.unwrap();
        cut.mended.send_replace(true);
        next.at_least(done.position, LONG).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        let checksum = next.checksum().await.unwrap();
        let operator = Operator::new(way(&log, &never));
        let written = operator
            .checksum("sums", "account", checksum.position)
            .await;
        assert_eq!(written.unwrap(), checksum, "stopped at {stopped}");
        let sum = next.get("1").await.unwrap();
        assert_eq!(sum, Some(checksum.events), "stopped at {stopped}");
        drop((zombie, next));
        sleep(Duration::from_millis(20)).await;
        clock.advance(2 * TTL);
        if is_whole {
            break;
        }
        stopped += 1;
    }
    assert!(stopped >= 2, "{stopped}");
}

/// CQ-5: a relay and a read side of one name have nothing in common.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_and_a_read_side_may_have_one_name() {
    let log = crate::world::memory();
    let accounts = commands(&log);
    let (out, mut received) = InProcess::new(10);
    let relay = Relay::new(log.clone(), "sums", "account", "/accounts");
    let relaying = relay.start(out).unwrap();
    tokio::spawn(async move {
        while let Some(message) = received.recv().await {
            message.taken();
        }
    });
    let sums = documents(&log, &log);
    let done = accounts.execute("1", &Command::Deposit(5)).await.unwrap();
    relaying.at_least(done.position, LONG).await.unwrap();
    sums.at_least(done.position, LONG).await.unwrap();
    assert_eq!(sums.get("1").await.unwrap(), Some(5));
}

/// CQ-5: a transport, or a listener, that panics takes nothing with it but the message.
#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_panics_has_refused() {
    #[derive(Clone, Default)]
    struct Panics(Arc<std::sync::Mutex<Vec<String>>>);
    impl backstay_cqrs::Transport for Panics {
        fn send<'t>(
            &'t self,
            message: &'t backstay_cqrs::Message,
        ) -> futures_util::future::BoxFuture<'t, Result<(), backstay_cqrs::SendError>> {
            assert!(!message.data.get().contains("666"), "as told");
            self.0.lock().unwrap().push(message.id.clone());
            std::future::ready(Ok(())).boxed()
        }
    }
    let log = crate::world::memory();
    let accounts = commands(&log);
    let mut last = Position::START;
    for (id, cents) in [("1", 666), ("1", 1), ("2", 1)] {
        let done = accounts
            .execute(id, &Command::Deposit(cents))
            .await
            .unwrap();
        last = done.position;
    }
    let sent = Panics::default();
    let relay = Relay::new(log.clone(), "to-them", "account", "/accounts").attempts(1);
    let relay = relay.on_event(|_, _| panic!("as told"));
    let relaying = relay.start(sent.clone()).unwrap();
    relaying.at_least(last, LONG).await.unwrap();
    assert_eq!(*sent.0.lock().unwrap(), ["account/2/1"]);
    let dead = Operator::new(log).dead("relay:to-them").await.unwrap();
    let errors: Vec<_> = dead.iter().map(|dead| dead.error.as_deref()).collect();
    assert_eq!(errors, [Some("it was refused: its code panicked"), None]);
}
