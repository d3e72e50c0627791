//! One job during one term.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Batch, CommitError, Expected, Position, Put, Timestamp};
use futures_util::FutureExt;

use super::event::{Event, EventKind};
use super::job::{Firing, Planned};
use super::plan::{Decision, decide};
use super::record::Record;
use super::{Shared, WallClock};
use crate::Leadership;

/// A clock that was set is noticed so late at most.
const LOOK: Duration = Duration::from_secs(1);
/// After the store has failed; and up to as much again, so that not all jobs ask at once.
const AGAIN: Duration = Duration::from_secs(1);
/// When no time was found: from another day on there may be one.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A clock that is further behind than the clocks of two machines are apart was set back.
const BEHIND: Duration = Duration::from_secs(60);

/// The job and what it needs.
pub(super) struct Drive<'s> {
    schedule: &'s Shared,
    job: &'s Planned,
    leadership: &'s Leadership,
    key: String,
}

/// What is in the store.
struct Kept {
    record: Record,
    revision: Position,
}

/// Why nothing was recorded.
enum Refused {
    /// Somebody has changed what is kept: look again.
    Changed,
    /// Another leads.
    Fenced,
}

/// Under which key the store has a job.
pub(super) fn key(schedule: &str, job: &str) -> String {
    format!("schedule/{schedule}/{job}")
}

impl<'s> Drive<'s> {
    pub(super) fn new(schedule: &'s Shared, job: &'s Planned, leadership: &'s Leadership) -> Self {
        Self {
            schedule,
            job,
            leadership,
            key: key(&schedule.name, &job.name),
        }
    }

    /// Runs the job when it is due, until another leads.
    pub(super) async fn run(self) {
        loop {
            match self.until_refused().await {
                Refused::Changed => {}
                Refused::Fenced => return self.leadership.lose(),
            }
        }
    }

    async fn until_refused(&self) -> Refused {
        let began = async {
            let mut kept = self.load().await?;
            if let Some(due) = kept.record.running() {
                kept = self.after_interruption(kept, due).await?;
            }
            loop {
                kept = self.next(kept).await?;
            }
        };
        let Err(refused): Result<Infallible, Refused> = began.await;
        refused
    }

    /// The next firing, or those that are skipped.
    async fn next(&self, kept: Kept) -> Result<Kept, Refused> {
        let through = kept.record.through();
        loop {
            let decision = decide(&self.job.times, self.job.missed, through, self.now());
            match decision {
                Decision::Wait(next) => self.wait(through, next).await,
                Decision::Go { skipped, run } => {
                    let token = self.leadership.token();
                    let record = match (run, skipped) {
                        (Some(due), _) => kept.record.begins(due, token),
                        (None, Some(skipped)) => kept.record.skips(skipped.last, token),
                        (None, None) => kept.record,
                    };
                    let kept = self.keep(record, Expected::Exactly(kept.revision)).await?;
                    if let Some(skipped) = skipped {
                        self.tell(EventKind::Skipped {
                            count: skipped.count,
                            last: skipped.last,
                        });
                    }
                    let Some(due) = run else {
                        return Ok(kept);
                    };
                    // It may have taken the store long to take it.
                    if self.job.missed.skips(due, self.now()) {
                        self.tell(EventKind::Skipped {
                            count: 1,
                            last: due,
                        });
                        return self.end(kept).await;
                    }
                    return self.fire(kept, due, false).await;
                }
            }
        }
    }

    async fn wait(&self, through: Timestamp, next: Option<Timestamp>) {
        let Some(next) = next else {
            self.tell(EventKind::Finished);
            return tokio::time::sleep(A_DAY).await;
        };
        let mut told = false;
        loop {
            let now = self.now();
            if now.plus(BEHIND) < through && !told {
                told = true;
                self.tell(EventKind::ClockBehind { through, now });
            }
            let left = next.as_millis().saturating_sub(now.as_millis());
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(left).min(LOOK)).await;
        }
    }

    /// Does the work of a firing that is in the store.
    async fn fire(&self, kept: Kept, due: Timestamp, again: bool) -> Result<Kept, Refused> {
        let firing = Firing {
            schedule: self.schedule.name.clone(),
            job: self.job.name.clone(),
            due,
            again,
            leadership: self.leadership.clone(),
        };
        let at = self.now();
        self.tell(EventKind::Started { due, at });
        let work = async { (self.job.work)(firing).await };
        let told = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(())) => EventKind::Done { due },
            Ok(Err(error)) => EventKind::Failed { due, error },
            Err(_) => EventKind::Panicked { due },
        };
        // What was told to be done is not told to be interrupted by the next leader.
        let kept = self.end(kept).await;
        self.tell(told);
        kept
    }

    async fn end(&self, kept: Kept) -> Result<Kept, Refused> {
        let record = kept.record.ended(self.leadership.token());
        self.keep(record, Expected::Exactly(kept.revision)).await
    }

    async fn after_interruption(&self, kept: Kept, due: Timestamp) -> Result<Kept, Refused> {
        self.tell(EventKind::Interrupted { due });
        if !self.job.repeats {
            return self.end(kept).await;
        }
        let record = kept.record.begins(due, self.leadership.token());
        let kept = self.keep(record, Expected::Exactly(kept.revision)).await?;
        self.fire(kept, due, true).await
    }

    /// Reads what is kept; of a job that is new or has changed that is what is due from now on.
    async fn load(&self) -> Result<Kept, Refused> {
        let token = self.leadership.token();
        // First the fence is raised: what a former leader has recorded by then is read, and it records nothing after.
        self.commit(Batch::new()).await?;
        let (record, expected) = loop {
            let entry = match self.schedule.store.get(&self.key).await {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    let record = Record::new(&self.job.times, self.now(), token);
                    break (record, Expected::Absent);
                }
                Err(error) => {
                    self.stalled(error.into()).await;
                    continue;
                }
            };
            let revision = entry.revision;
            match Record::read(&entry.value) {
                Ok(record) if record.is_of(&self.job.times) => {
                    return Ok(Kept { record, revision });
                }
                Ok(record) => {
                    let record = record.changed(&self.job.times, self.now(), token);
                    break (record, Expected::Exactly(revision));
                }
                Err(error) => {
                    let error = Arc::new(error);
                    self.tell(EventKind::Unreadable { error });
                    again().await;
                }
            }
        };
        let kept = self.keep(record, expected).await?;
        self.tell(EventKind::Planned);
        Ok(kept)
    }

    /// Records, if nobody else has since.
    async fn keep(&self, record: Record, expected: Expected<Position>) -> Result<Kept, Refused> {
        let put = Put::new(record.write()).expecting(expected);
        let commit = self.commit(Batch::new().put(self.key.clone(), put)).await?;
        // None if somebody has changed it since, and the commit was found again by its id.
        let revision = commit.revision(&self.key).ok_or(Refused::Changed)?;
        Ok(Kept { record, revision })
    }

    /// Commits under the fence, however often the store has to be asked.
    async fn commit(&self, batch: Batch) -> Result<backstay_store::Commit, Refused> {
        let batch = batch.fenced(self.leadership.fence());
        loop {
            // The same batch each time: what an answer that was lost has done is not done again.
            match self.schedule.store.commit(batch.clone()).await {
                Ok(commit) => return Ok(commit),
                Err(CommitError::Fenced { .. }) => return Err(Refused::Fenced),
                Err(CommitError::Conflict(_)) => return Err(Refused::Changed),
                Err(error) => self.stalled(error).await,
            }
        }
    }

    async fn stalled(&self, error: CommitError) {
        let error = Arc::new(error);
        self.tell(EventKind::Stalled { error });
        again().await;
    }

    fn tell(&self, kind: EventKind) {
        self.schedule.listener.hear(|| Event {
            schedule: self.schedule.name.clone(),
            job: self.job.name.clone(),
            kind,
        });
    }

    fn now(&self) -> Timestamp {
        WallClock::now(&*self.schedule.clock)
    }
}

async fn again() {
    tokio::time::sleep(AGAIN.mul_f64(1.0 + fastrand::f64())).await;
}
