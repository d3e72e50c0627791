use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use backstay_core::Invalid;
use backstay_store::{Fence, Timestamp};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::check_name;
use super::cron::Times;
use super::event::WorkError;
use super::plan::Missed;
use crate::Leadership;

/// Makes a firing's work.
pub(super) type Work = dyn Fn(Firing) -> BoxFuture<'static, Result<(), WorkError>> + Send + Sync;

/// Work that is due at the times of a cron text.
#[derive(Clone)]
#[must_use = "a job does nothing until it is in a schedule"]
pub struct Job {
    name: String,
    cron: String,
    zone: String,
    missed: Missed,
    repeats: bool,
    work: Arc<Work>,
}

impl Job {
    /// A job of this name, due at the times of a cron text: five fields, or six that begin with seconds.
    ///
    /// A name is 1 to 100 bytes without control characters and `/`. The work makes a future that returns nothing, or a
    /// result. It is dropped, at an `.await`, when its leader leads no more.
    pub fn new<W>(
        name: impl Into<String>,
        cron: impl Into<String>,
        work: impl Fn(Firing) -> W + Send + Sync + 'static,
    ) -> Self
    where
        W: Future + Send + 'static,
        W::Output: Ended,
    {
        Self {
            name: name.into(),
            cron: cron.into(),
            zone: "UTC".to_owned(),
            missed: Missed::default(),
            repeats: false,
            work: Arc::new(move |firing| work(firing).map(Ended::ended).boxed()),
        }
    }

    /// The time zone on whose wall clock it is due, such as `Europe/Berlin`; UTC by default.
    ///
    /// A text with one minute and one hour names a fixed time. One that is left out when clocks go forward is due when they
    /// have: at 3:00 instead of 2:30. One that comes twice when they go back is due the first time. Any other text is due
    /// in both of the hours that come twice, and not at all in the hour that is left out.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = zone.into();
        self
    }

    /// What becomes of firings whose time has passed; [`Missed::Once`] by default.
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Runs a firing again whose leader died or was stopped before its end was recorded; off by default.
    ///
    /// Without it a firing runs **at most once**, and one that was cut off is told as
    /// [`Interrupted`](super::EventKind::Interrupted). With it a firing runs at least once, and its work has to stand being done
    /// twice, also by two at once where the earlier leader was only stopped: [`Firing::key`] is the same each time.
    pub fn repeat_interrupted(mut self) -> Self {
        self.repeats = true;
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn plan(self) -> Result<Planned, Invalid> {
        check_name("job", &self.name)?;
        let field = format!("job {}", self.name);
        self.missed.check(&field)?;
        Ok(Planned {
            times: Times::new(&field, &self.cron, &self.zone)?,
            name: self.name,
            missed: self.missed,
            repeats: self.repeats,
            work: self.work,
        })
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .field("cron", &self.cron)
            .field("zone", &self.zone)
            .field("missed", &self.missed)
            .field("repeats", &self.repeats)
            .finish_non_exhaustive()
    }
}

/// A job whose options hold.
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) times: Times,
    pub(super) missed: Missed,
    pub(super) repeats: bool,
    pub(super) work: Arc<Work>,
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}", self.name, self.times)
    }
}

/// What a job's work may return.
pub trait Ended {
    /// Whether it has failed, and with what.
    fn ended(self) -> Result<(), WorkError>;
}

impl Ended for () {
    fn ended(self) -> Result<(), WorkError> {
        Ok(())
    }
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Ended for Result<T, E> {
    fn ended(self) -> Result<(), WorkError> {
        self.map(drop).map_err(|error| Arc::from(error.into()))
    }
}

/// One time at which a job was due, and the right to do its work.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Firing {
    /// The schedule.
    pub schedule: String,
    /// The job.
    pub job: String,
    /// When it was due. It may be long ago.
    pub due: Timestamp,
    /// Whether an earlier leader has begun it.
    pub again: bool,
    /// The term under which it runs.
    pub leadership: Leadership,
}

impl Firing {
    /// Names this firing, the same whoever runs it and however often: a key for calls that must be done once.
    ///
    /// For example `reports/nightly/1764039600000`.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.schedule, self.job, self.due.as_millis())
    }

    /// Put it on every batch that the work commits.
    pub fn fence(&self) -> Fence {
        self.leadership.fence()
    }
}
