//! Elections of three to five nodes on simulated time: bad clocks, a bad network, and nodes that stand still.
//!
//! All of a run follows from its seed.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_lease::conformance::{Fate, Faulty};
use backstay_lease::{
    Acquired, Clock, Election, Event, Holder, Invalid, Leadership, Lease, Leases, Moment, Pending,
    Wanted,
};
use backstay_store::{Batch, MemoryStore, Store, TestClock, Timestamp, Version};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::BoxStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

const TTL: Duration = Duration::from_secs(3);
/// Until here there are faults.
const BAD: Duration = Duration::from_secs(40);
const SEEDS: u64 = 1_000;

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug)]
struct Troubles {
    /// The home's clock is set forward and back.
    steps: bool,
    /// Writes carry the fence.
    fenced: bool,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Run {
    trace: String,
    /// Tokens, in the order in which the work did something by itself.
    acted: Vec<u64>,
    /// The last time it did.
    acted_at: Duration,
    /// Tokens, in the order in which late writes arrived and were accepted.
    written: Vec<u64>,
    refused: u64,
    stood_still: u64,
    leads_at_last: bool,
}

impl Run {
    fn terms(&self) -> usize {
        let mut tokens = self.acted.clone();
        tokens.dedup();
        tokens.len()
    }
}

fn act(run: &Mutex<Run>, token: u64, start: Instant) {
    let mut run = run.lock().expect("nobody panics");
    run.acted.push(token);
    run.acted_at = start.elapsed();
}

fn goes_back(tokens: &[u64]) -> bool {
    tokens.windows(2).any(|two| two[0] > two[1])
}

/// From and to, after the beginning.
type Spell = (Duration, Duration);

/// Spells until the troubles end.
fn spells() -> Vec<Spell> {
    let mut spells = Vec::new();
    let mut at = random(BAD / 2);
    while at < BAD {
        let until = (at + random(2 * TTL)).min(BAD);
        spells.push((at, until));
        at = until + random(BAD);
    }
    spells
}

fn during(spells: &[Spell], now: Duration) -> Option<&Spell> {
    spells.iter().find(|(from, to)| (*from..*to).contains(&now))
}

/// When one node stands still.
#[derive(Clone, Debug)]
struct Pauses {
    start: Instant,
    stands: Arc<Vec<Spell>>,
    met: Arc<AtomicU64>,
}

impl Pauses {
    fn draw(start: Instant) -> Self {
        Self {
            start,
            stands: Arc::new(spells()),
            met: Arc::default(),
        }
    }

    /// Returns when the node runs; true if it did not.
    async fn thaw(&self) -> bool {
        match during(&self.stands, self.start.elapsed()) {
            Some((_, to)) => {
                self.met.fetch_add(1, Relaxed);
                sleep_until(self.start + *to).await;
                true
            }
            None => false,
        }
    }
}

/// A node's clock: it shows another time than the others, runs faster or slower, and wakes nobody while the node stands.
#[derive(Clone, Debug)]
struct NodeClock {
    pauses: Pauses,
    offset: Duration,
    rate: f64,
}

impl Clock for NodeClock {
    fn now(&self) -> Moment {
        let run = self.pauses.start.elapsed().mul_f64(self.rate);
        Moment::default().plus(self.offset + run)
    }

    fn sleep_until(&self, at: Moment) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        async move {
            loop {
                let left = at.since(clock.now());
                if left.is_zero() && !clock.pauses.thaw().await {
                    return;
                }
                // tokio's timers count in milliseconds, rounded up.
                sleep(left.div_f64(clock.rate) + Duration::from_nanos(100)).await;
            }
        }
        .boxed()
    }
}

/// The store as the home of leases, with a clock of its own.
#[derive(Debug)]
struct Home {
    store: Store,
    clock: TestClock,
    start: Instant,
    rate: f64,
    steps: bool,
}

impl Home {
    fn tick(&self) {
        let run = self.start.elapsed().mul_f64(self.rate);
        let mut now = Timestamp::from_millis(1_800_000_000_000).plus(run);
        if self.steps && self.start.elapsed() < BAD && fastrand::u8(..50) == 0 {
            now = now.plus(random(2 * TTL));
        }
        self.clock.set(now);
    }
}

impl Leases for Home {
    fn check(&self, name: &str, ttl: Duration) -> Result<(), Invalid> {
        self.store.check(name, ttl)
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        self.tick();
        self.store.acquire(wanted)
    }

    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool> {
        self.tick();
        Leases::renew(&self.store, lease, ttl)
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        self.tick();
        Leases::release(&self.store, lease)
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Holder>> {
        self.tick();
        Leases::holder(&self.store, name)
    }

    fn hints(&self, name: String) -> BoxStream<'static, ()> {
        self.store.hints(name)
    }
}

/// A home that a node which stands still neither asks nor hears.
#[derive(Debug)]
struct FromNode {
    home: Faulty,
    pauses: Pauses,
}

impl FromNode {
    fn ask<'a, T: Send + 'a>(&'a self, asked: Pending<'a, T>) -> Pending<'a, T> {
        async move {
            self.pauses.thaw().await;
            let answer = asked.await;
            self.pauses.thaw().await;
            answer
        }
        .boxed()
    }
}

impl Leases for FromNode {
    fn check(&self, name: &str, ttl: Duration) -> Result<(), Invalid> {
        self.home.check(name, ttl)
    }

    fn acquire(&self, wanted: Wanted) -> Pending<'_, Acquired> {
        self.ask(self.home.acquire(wanted))
    }

    fn renew(&self, lease: Lease, ttl: Duration) -> Pending<'_, bool> {
        self.ask(self.home.renew(lease, ttl))
    }

    fn release(&self, lease: Lease) -> Pending<'_, ()> {
        self.ask(self.home.release(lease))
    }

    fn holder(&self, name: String) -> Pending<'_, Option<Holder>> {
        self.ask(self.home.holder(name))
    }

    fn hints(&self, name: String) -> BoxStream<'static, ()> {
        self.home.hints(name)
    }
}

fn random(most: Duration) -> Duration {
    Duration::from_nanos(fastrand::u64(
        ..u64::try_from(most.as_nanos()).expect("short"),
    ))
}

/// A clock's speed, within what elections allow between two of them.
fn rate() -> f64 {
    1.0 + 0.009 * (fastrand::f64() - 0.5)
}

/// A node's way to the home; now and then it is cut off.
fn fates(start: Instant) -> impl Fn() -> Fate {
    let cut_off = spells();
    move || match during(&cut_off, start.elapsed()) {
        Some(_) => Fate::LOST,
        None => fate(start),
    }
}

fn fate(start: Instant) -> Fate {
    if start.elapsed() >= BAD {
        return Fate {
            before: random(TTL / 100),
            after: random(TTL / 100),
            ..Fate::default()
        };
    }
    match fastrand::u8(..20) {
        0 => Fate::LOST,
        1 => Fate::SILENCE,
        2..5 => Fate {
            before: random(2 * TTL),
            ..Fate::default()
        },
        5..8 => Fate {
            after: random(TTL),
            ..Fate::default()
        },
        8..12 => Fate {
            after: random(TTL / 5),
            ..Fate::default()
        },
        _ => Fate {
            before: random(TTL / 50),
            after: random(TTL / 50),
            ..Fate::default()
        },
    }
}

/// Writes that are on their way after their node has stopped, or has been stopped.
fn write(store: &Store, leads: &Leadership, troubles: Troubles, run: &Arc<Mutex<Run>>) {
    let token = leads.token();
    let batch = Batch::new().append("writes", backstay_store::Event::new("w", token.to_string()));
    let batch = if troubles.fenced {
        batch.fenced(leads.fence())
    } else {
        batch
    };
    let (store, run) = (store.clone(), run.clone());
    let on_its_way = random(TTL);
    tokio::spawn(async move {
        sleep(on_its_way).await;
        let written = store.commit(batch).await;
        let mut run = run.lock().expect("nobody panics");
        match written {
            Ok(_) => run.written.push(token),
            Err(_) => run.refused += 1,
        }
    });
}

async fn simulate(troubles: Troubles) -> Run {
    let start = Instant::now();
    let clock = TestClock::at(Timestamp::from_millis(1_800_000_000_000));
    let store = MemoryStore::with_clock(clock.clone()).into_store();
    let run = Arc::new(Mutex::new(Run::default()));
    let home: Arc<dyn Leases> = Arc::new(Home {
        store: store.clone(),
        clock,
        start,
        rate: rate(),
        steps: troubles.steps,
    });
    let nodes = (0..fastrand::usize(3..=5)).map(|node| {
        let pauses = Pauses::draw(start);
        let clock = NodeClock {
            pauses: pauses.clone(),
            offset: random(Duration::from_secs(1_000_000)),
            rate: rate(),
        };
        let leases = FromNode {
            home: Faulty::new(home.clone(), fates(start)),
            pauses: pauses.clone(),
        };
        let told = run.clone();
        let tell = move |event: &Event| {
            let mut run = told.lock().expect("nobody panics");
            let at = start.elapsed();
            writeln!(run.trace, "{at:?} {node} {event:?}").expect("memory");
        };
        let builder = Election::builder(leases, "job")
            .ttl(TTL)
            .clock(clock.clone());
        let election = builder.on_event(tell).build().expect("good times");
        let (store, run) = (store.clone(), run.clone());
        async move {
            loop {
                let leads = election.campaign().await.expect("it has not resigned");
                let for_long = start.elapsed() + random(5 * TTL);
                let work = async {
                    while start.elapsed() < for_long {
                        act(&run, leads.token(), start);
                        write(&store, &leads, troubles, &run);
                        clock.sleep_until(clock.now().plus(random(TTL / 4))).await;
                    }
                };
                let _ = leads.run(work).await;
                run.lock().expect("nobody panics").stood_still += pauses.met.swap(0, Relaxed);
            }
        }
    });
    let nodes = join_all(nodes.collect::<Vec<_>>());
    let _ = timeout(BAD + 5 * TTL, nodes).await;
    // Writes that are still on their way.
    sleep(2 * TTL).await;
    let mut done = std::mem::take(&mut *run.lock().expect("nobody panics"));
    let events = store.read("writes", Version::START, 10_000).await;
    let events = events.expect("it is in memory");
    assert_eq!(events.len(), done.written.len());
    // A leader does something every second or so, and whoever dies is replaced in four.
    done.leads_at_last = done.acted_at > BAD + 3 * TTL;
    done
}

fn run(seed: u64, troubles: Troubles) -> Run {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(simulate(troubles))
}

/// LEA-1, LEA-3, LEA-4, LEA-8: while clocks keep within the drift, nobody acts after a later leader has, and no write of a
/// former leader is accepted however late it comes; and when the troubles end somebody leads.
#[test]
fn nobody_acts_after_a_later_leader() {
    let troubles = Troubles {
        steps: false,
        fenced: true,
    };
    let (mut terms, mut refused, mut stood_still) = (0, 0, 0);
    for seed in 0..SEEDS {
        let run = run(seed, troubles);
        let trace = &run.trace;
        assert!(
            !goes_back(&run.acted),
            "seed {seed}: {:?}\n{trace}",
            run.acted
        );
        assert!(
            !goes_back(&run.written),
            "seed {seed}: {:?}\n{trace}",
            run.written
        );
        assert!(
            run.leads_at_last,
            "seed {seed}: nobody leads at last\n{trace}"
        );
        terms += run.terms();
        refused += run.refused;
        stood_still += run.stood_still;
    }
    // A run in which nothing happens shows nothing.
    println!(
        "{SEEDS} seeds: {terms} terms, {refused} writes refused, stood still {stood_still} times"
    );
    assert!(terms > 5 * 1_000 && refused > 1_000 && stood_still > 100);
}

/// LEA-8: however the home's clock is set, no write of a former leader is accepted.
#[test]
fn no_stale_write_is_accepted_whatever_the_homes_clock_does() {
    let troubles = Troubles {
        steps: true,
        fenced: true,
    };
    let mut two_leaders = 0;
    for seed in 0..SEEDS / 5 {
        let run = run(seed, troubles);
        assert!(
            !goes_back(&run.written),
            "seed {seed}: {:?}\n{}",
            run.written,
            run.trace
        );
        two_leaders += u32::from(goes_back(&run.acted));
    }
    assert!(
        two_leaders > 0,
        "no clock that was set has made two leaders"
    );
}

/// LEA-8: without the fence a former leader's late write is accepted: it is the fence that holds.
#[test]
fn without_the_fence_stale_writes_are_accepted() {
    let troubles = Troubles {
        steps: false,
        fenced: false,
    };
    let stale = (0..20).filter(|seed| goes_back(&run(*seed, troubles).written));
    assert!(stale.count() > 0, "it was not needed");
}

/// The same seed gives the same run, to the nanosecond.
#[test]
fn a_seed_gives_one_run() {
    let troubles = Troubles {
        steps: true,
        fenced: true,
    };
    for seed in 0..20 {
        let (one, other) = (run(seed, troubles), run(seed, troubles));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.written, other.written, "seed {seed}");
        assert_ne!(one.trace, run(seed + 1, troubles).trace);
    }
}
