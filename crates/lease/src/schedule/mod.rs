//! Jobs that run at the times of a cron text, on whichever process leads.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use backstay_lease::Election;
//! use backstay_lease::schedule::{Job, Missed, Schedule};
//! use backstay_store::{Batch, MemoryStore};
//!
//! let store = MemoryStore::new().into_store();
//! let election = Election::builder(store.clone(), "reports").build()?;
//! let reports = store.clone();
//! let nightly = Job::new("nightly", "0 3 * * *", move |firing| {
//!     let reports = reports.clone();
//!     async move {
//!         let report = Batch::new().put(firing.key(), "all is well");
//!         reports.commit(report.fenced(firing.fence())).await
//!     }
//! });
//! let schedule = Schedule::builder(store, "reports")
//!     .job(nightly.zone("Europe/Berlin").missed(Missed::Once))
//!     .on_event(|event| println!("{event:?}"))
//!     .build()?;
//! # let _ = async {
//! // Until the election resigns.
//! election.run(|leadership| schedule.run(leadership)).await?;
//! # Ok::<(), backstay_lease::Resigned>(())
//! # };
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod cron;
mod drive;
mod event;
mod job;
mod plan;
mod record;
mod wall;

use std::collections::HashSet;
use std::sync::Arc;

use backstay_core::Invalid;
use backstay_store::Store;
use futures_util::future::join_all;

use crate::{Leadership, Lost};

pub use event::{Event, EventKind, WorkError};
pub use job::{Ended, Firing, Job};
pub use plan::Missed;
pub use wall::{MachineClock, WallClock};

use drive::Drive;
use event::Listener;
use job::Planned;

/// Bytes of a schedule's and of a job's name: together they are part of a key.
const LONGEST_NAME: usize = 100;
/// All jobs of a schedule are looked after by one task.
const MOST_JOBS: usize = 1_000;

/// Jobs of a leader. Cheap to clone; all clones are the same schedule.
#[derive(Clone, Debug)]
pub struct Schedule(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    name: String,
    jobs: Vec<Planned>,
    clock: Arc<dyn WallClock>,
    listener: Listener,
}

/// Options of a [`Schedule`].
#[derive(Debug)]
#[must_use = "it does nothing until it is built"]
pub struct ScheduleBuilder {
    store: Store,
    name: String,
    jobs: Vec<Job>,
    clock: Arc<dyn WallClock>,
    listener: Listener,
}

impl ScheduleBuilder {
    /// Adds a job. A schedule has 1 to 1,000.
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Hears what happens to the jobs. It must not block. A panic of it changes nothing.
    pub fn on_event(mut self, hear: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(hear);
        self
    }

    /// Another clock than the [machine's](MachineClock).
    pub fn clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks names, cron texts and time zones.
    pub fn build(self) -> Result<Schedule, Invalid> {
        check_name("schedule", &self.name)?;
        if !(1..=MOST_JOBS).contains(&self.jobs.len()) {
            let limit = format!("must be in 1..={MOST_JOBS}");
            return Err(Invalid::new("schedule, jobs", self.jobs.len(), limit));
        }
        let mut names = HashSet::new();
        if let Some(twice) = self.jobs.iter().find(|job| !names.insert(job.name())) {
            let value = format!("{:?}", twice.name());
            return Err(Invalid::new(
                "job",
                value,
                "must be another name for each job",
            ));
        }
        let most = self.store.limits().name_bytes;
        for job in &self.jobs {
            let key = drive::key(&self.name, job.name());
            if key.len() > most {
                let limit = format!("must be at most {most} bytes in this store");
                return Err(Invalid::new(
                    format!("the key {key:?}, bytes"),
                    key.len(),
                    limit,
                ));
            }
        }
        let jobs: Result<_, _> = self.jobs.into_iter().map(Job::plan).collect();
        Ok(Schedule(Arc::new(Shared {
            store: self.store,
            name: self.name,
            jobs: jobs?,
            clock: self.clock,
            listener: self.listener,
        })))
    }
}

impl Schedule {
    /// A schedule of this name, which keeps in the store how far its jobs have come: 1 to 100 bytes without control
    /// characters and `/`.
    pub fn builder(store: Store, name: impl Into<String>) -> ScheduleBuilder {
        ScheduleBuilder {
            store,
            name: name.into(),
            jobs: Vec::new(),
            clock: Arc::new(MachineClock),
            listener: Listener::default(),
        }
    }

    /// Runs the jobs when they are due, until it leads no more.
    ///
    /// Give it to [`Election::run`](crate::Election::run), which begins anew with each term. A firing is recorded under the
    /// term's fence before its work begins, so no two leaders run the same one. Different jobs run at the same time, on the
    /// task that polls this: work that blocks holds up the others. A job waits for its own last firing.
    ///
    /// An error or a panic of a job's work is told to the [listener](ScheduleBuilder::on_event), and stops nothing else. The
    /// firing is not run again.
    ///
    /// Where the store refuses the fence the term ends, as if the lease were lost.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the work. Firings that had begun are then interrupted: see [`Job::repeat_interrupted`].
    pub async fn run(&self, leadership: Leadership) -> Lost {
        let jobs = self.0.jobs.iter().map(|job| {
            let drive = Drive::new(&self.0, job, &leadership);
            drive.run()
        });
        let lost = match leadership.run(join_all(jobs)).await {
            Err(lost) => lost,
            Ok(_) => leadership.ended().await,
        };
        // Whoever runs this under the same term, as an election does, notices first, and begins another.
        tokio::task::yield_now().await;
        lost
    }
}

fn check_name(what: &str, name: &str) -> Result<(), Invalid> {
    let is_fit = |c: char| !c.is_control() && c != '/';
    if (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(is_fit) {
        return Ok(());
    }
    let shown: String = name.chars().take(40).collect();
    let limit = format!("must be 1 to {LONGEST_NAME} bytes without control characters and `/`");
    Err(Invalid::new(
        what,
        format!("{shown:?}, {} bytes", name.len()),
        limit,
    ))
}
