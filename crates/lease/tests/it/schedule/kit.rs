//! A world with a clock, a store, a home of leases, and what was heard in it.

use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_lease::schedule::{Event, EventKind, Firing, Job, Schedule, WallClock};
use backstay_lease::{Election, TokioClock};
use backstay_store::{Store, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::net::{Fate, Home, Net};

/// Midnight of a Wednesday, UTC.
pub(super) const MIDNIGHT: Timestamp = Timestamp::from_millis(1_795_564_800_000);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const EVERY_MINUTE: &str = "* * * * *";

/// A clock that runs with tokio's and can be set.
#[derive(Clone, Debug)]
pub(super) struct Wall {
    start: Instant,
    set_by: Arc<AtomicI64>,
}

impl Wall {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            set_by: Arc::default(),
        }
    }

    /// Sets it so many seconds forward, or back.
    pub(super) fn set(&self, seconds: i64) {
        self.set_by.fetch_add(1_000 * seconds, Ordering::SeqCst);
    }
}

impl WallClock for Wall {
    fn now(&self) -> Timestamp {
        let now = MIDNIGHT.plus(self.start.elapsed()).as_millis();
        let now = now.cast_signed() + self.set_by.load(Ordering::SeqCst);
        Timestamp::from_millis(now.cast_unsigned())
    }
}

/// Minutes after midnight, for people to read.
pub(super) fn minutes(due: Timestamp) -> i64 {
    let millis = due.as_millis().cast_signed() - MIDNIGHT.as_millis().cast_signed();
    assert_eq!(millis % 60_000, 0, "it is due at a full minute");
    millis / 60_000
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) store: Store,
    pub(super) fate: Arc<Fate>,
    pub(super) home: Home,
    pub(super) wall: Wall,
    /// What work has begun: its job and when it was due.
    ran: Arc<Mutex<Vec<(String, i64)>>>,
    told: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub(super) fn new() -> Self {
        let fate = Arc::<Fate>::default();
        Self {
            store: Store::new(Net::new(fate.clone())),
            fate,
            home: Home::default(),
            wall: Wall::new(),
            ran: Arc::default(),
            told: Arc::default(),
        }
    }

    /// A job that notes its firings and then does some work.
    pub(super) fn job<W: Future<Output = ()> + Send + 'static>(
        &self,
        name: &str,
        work: impl Fn(Firing) -> W + Send + Sync + 'static,
    ) -> Job {
        let ran = self.ran.clone();
        Job::new(name, EVERY_MINUTE, move |firing| {
            let due = (firing.job.clone(), minutes(firing.due));
            ran.lock().expect("nobody panics").push(due);
            work(firing)
        })
    }

    /// A job that notes its firings.
    pub(super) fn noting(&self, name: &str) -> Job {
        self.job(name, |_| std::future::ready(()))
    }

    pub(super) fn schedule(&self, jobs: impl IntoIterator<Item = Job>) -> Schedule {
        let told = self.told.clone();
        let builder = Schedule::builder(self.store.clone(), "jobs")
            .clock(self.wall.clone())
            .on_event(move |event| told.lock().expect("nobody panics").push(shown(event)));
        let builder = jobs
            .into_iter()
            .fold(builder, backstay_lease::schedule::ScheduleBuilder::job);
        builder.build().expect("good options")
    }

    pub(super) fn election(&self) -> Election {
        Self::election_of(&self.home, "leader")
    }

    pub(super) fn election_of(home: &Home, name: &str) -> Election {
        let election = Election::builder(home.clone(), name).clock(TokioClock::new());
        election.build().expect("good options")
    }

    /// A process that leads when it can and runs these jobs.
    pub(super) fn process(&self, jobs: impl IntoIterator<Item = Job>) -> JoinHandle<()> {
        self.process_of(self.election(), jobs)
    }

    pub(super) fn process_of(
        &self,
        election: Election,
        jobs: impl IntoIterator<Item = Job>,
    ) -> JoinHandle<()> {
        let schedule = self.schedule(jobs);
        tokio::spawn(async move {
            let resigned = election.run(|leadership| schedule.run(leadership)).await;
            panic!("it never resigns: {resigned:?}");
        })
    }

    /// As by `kill -9`: it does nothing more, and the lease can be given to another.
    pub(super) async fn kill(&self, process: JoinHandle<()>) {
        process.abort();
        assert!(process.await.expect_err("it was killed").is_cancelled());
        self.home.depose();
    }

    /// The firings whose work has begun, in the order in which it has.
    pub(super) fn ran(&self) -> Vec<(String, i64)> {
        self.ran.lock().expect("nobody panics").clone()
    }

    /// When the firings of a job were due whose work has begun.
    pub(super) fn ran_of(&self, job: &str) -> Vec<i64> {
        let ran = self.ran().into_iter();
        ran.filter(|(name, _)| name == job)
            .map(|(_, due)| due)
            .collect()
    }

    /// What was told so far.
    pub(super) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().expect("nobody panics"))
    }
}

/// Lets time pass.
pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

fn shown(event: &Event) -> String {
    let job = &event.job;
    match &event.kind {
        EventKind::Planned => format!("{job} planned"),
        EventKind::Started { due, .. } => format!("{job} started {}", minutes(*due)),
        EventKind::Done { due } => format!("{job} done {}", minutes(*due)),
        EventKind::Failed { due, error } => format!("{job} failed {}: {error}", minutes(*due)),
        EventKind::Panicked { due } => format!("{job} panicked {}", minutes(*due)),
        EventKind::Skipped { count, last } => {
            format!("{job} skipped {count} to {}", minutes(*last))
        }
        EventKind::Interrupted { due } => format!("{job} interrupted {}", minutes(*due)),
        EventKind::Stalled { .. } => format!("{job} stalled"),
        EventKind::Unreadable { .. } => format!("{job} unreadable"),
        EventKind::ClockBehind { .. } => format!("{job} clock behind"),
        EventKind::Finished => format!("{job} finished"),
        other => panic!("it is not expected: {other:?}"),
    }
}
