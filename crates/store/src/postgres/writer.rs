//! The one task that writes, and how many writes share one transaction.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::Effect;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::failure::Failure;
use super::group::{self, BEGIN};
use super::hint::Hint;
use super::ledger::{Ledger, Needs};
use super::server::{ATTEMPTS, Server};
use super::sweep;
use super::write::write;
use crate::{Cause, Position, Unavailable};

/// As many writes share one transaction at most. More would make the first of them wait for long.
const GROUP: usize = 512;
/// And as many bytes, unless one batch alone has more.
const GROUP_BYTES: usize = 8 << 20;
/// As many wait for the writer; who comes then waits for a place.
const WAITING: usize = 4 * GROUP;
/// By the store's clock.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// So soon a sweep is tried again that failed: not at once, because all who write wait for it.
const SWEEP_AGAIN: Duration = Duration::from_secs(5);
/// A sweep that failed takes so many times less at its next turn, in case that its size was the reason.
const SHRINK: i64 = 4;

/// The way to the task, which ends with the last way to it.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Box<dyn Task>>);

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(server: Arc<Server>, hint: Hint) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let driver = Driver {
            server,
            hint,
            waiting,
        };
        tokio::spawn(driver.work());
        Self(jobs)
    }

    /// Has a question decided, and waits until what came of it is on disk.
    pub(super) async fn ask<Q>(self, question: Q) -> Result<Q::Answer, Q::Error>
    where
        Q: Question + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            question,
            answer: None,
            reply,
        };
        let closed = |effect| Unavailable::new(Cause::Closed, effect);
        let asked = self.0.send(Box::new(job)).await;
        asked.map_err(|_| closed(Effect::NotExecuted))?;
        answer
            .await
            .unwrap_or_else(|_| Err(closed(Effect::Unknown).into()))
    }
}

/// What can be asked of the ledger.
pub(super) trait Question: Send {
    type Answer: Send;
    type Error: From<Unavailable> + Send;

    /// How large it is.
    fn bytes(&self) -> usize {
        0
    }
    /// What has to be known for it.
    fn needs(&self, needs: &mut Needs);
    /// Does it, as often as asked; only the last time counts.
    fn decide(&self, ledger: &mut Ledger) -> Result<Self::Answer, Self::Error>;
}

/// Something to write, and somebody who waits for it.
trait Task: Send {
    fn is_wanted(&self) -> bool;
    fn bytes(&self) -> usize;
    fn needs(&self, needs: &mut Needs);
    fn decide(&mut self, ledger: &mut Ledger);
    /// Tells what came of it, or what became of the transaction instead.
    fn settle(self: Box<Self>, committed: Result<(), Unavailable>);
}

struct Job<Q: Question> {
    question: Q,
    answer: Option<Result<Q::Answer, Q::Error>>,
    reply: oneshot::Sender<Result<Q::Answer, Q::Error>>,
}

impl<Q: Question> Task for Job<Q> {
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn bytes(&self) -> usize {
        self.question.bytes()
    }

    fn needs(&self, needs: &mut Needs) {
        self.question.needs(needs);
    }

    fn decide(&mut self, ledger: &mut Ledger) {
        self.answer = Some(self.question.decide(ledger));
    }

    fn settle(self: Box<Self>, committed: Result<(), Unavailable>) {
        let answer = match (committed, self.answer) {
            (Ok(()), Some(answer)) => answer,
            (Err(unavailable), _) => Err(unavailable.into()),
            (Ok(()), None) => Err(Unavailable::new(Cause::Closed, Effect::NotExecuted).into()),
        };
        // Whoever asked may have gone.
        let _ = self.reply.send(answer);
    }
}

struct Driver {
    server: Arc<Server>,
    hint: Hint,
    waiting: mpsc::Receiver<Box<dyn Task>>,
}

/// A transaction that was not committed, or perhaps was.
struct Lost {
    failure: Failure,
    effect: Effect,
}

impl From<Failure> for Lost {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            effect: Effect::NotExecuted,
        }
    }
}

impl Driver {
    async fn work(mut self) {
        let clock = self.server.options.clock.clone();
        let mut next_sweep = clock.here().plus(SWEEP_EVERY);
        let mut at_once = sweep::AT_ONCE;
        let mut tasks = Vec::new();
        loop {
            // One round between two groups, however much there is to sweep and however many groups follow each other.
            let now = clock.here();
            if next_sweep <= now {
                next_sweep = now.plus(self.sweep(&mut at_once).await);
            }
            // The machine's clock may have been set back.
            next_sweep = next_sweep.min(now.plus(SWEEP_EVERY));
            let idle = Duration::from_millis(next_sweep.as_millis() - now.as_millis());
            let came = self.waiting.recv_many(&mut tasks, GROUP);
            if timeout(idle, came).await == Ok(0) {
                return;
            }
            tasks.retain(|task| task.is_wanted());
            let mut left = std::mem::take(&mut tasks);
            while !left.is_empty() {
                let rest = left.split_off(fitting(&left));
                self.write(std::mem::replace(&mut left, rest)).await;
            }
        }
    }

    /// Sweeps one round, and says how long to wait for the next.
    ///
    /// What can't be swept now is swept later, in smaller rounds. Why it can't be is told by `Store::sweep`.
    async fn sweep(&self, at_once: &mut i64) -> Duration {
        let server = &self.server;
        let Ok(round) = sweep::round(server, &server.writing, *at_once).await else {
            *at_once = Ord::max(*at_once / SHRINK, 1);
            return SWEEP_AGAIN;
        };
        if let Some(head) = round.head {
            self.hint.committed(head);
        }
        *at_once = Ord::min(*at_once * 2, sweep::AT_ONCE);
        if round.has_more {
            Duration::ZERO
        } else {
            SWEEP_EVERY
        }
    }

    async fn write(&self, tasks: Vec<Box<dyn Task>>) {
        let Err((lost, tasks)) = self.commit(tasks).await else {
            return;
        };
        if tasks.len() > 1 && lost.effect == Effect::NotExecuted && lost.failure.may_be_of_one() {
            for task in tasks {
                if let Err((lost, tasks)) = self.commit(vec![task]).await {
                    give_up(lost, tasks);
                }
            }
        } else {
            give_up(lost, tasks);
        }
    }

    /// Commits a group and tells those who wait; hands it back if it can't be.
    async fn commit(
        &self,
        mut tasks: Vec<Box<dyn Task>>,
    ) -> Result<(), (Lost, Vec<Box<dyn Task>>)> {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match self.attempt(&mut tasks).await {
                Ok(head) => {
                    if let Some(head) = head {
                        self.hint.committed(head);
                    }
                    for task in tasks {
                        task.settle(Ok(()));
                    }
                    return Ok(());
                }
                Err(lost) => {
                    let again = lost.effect == Effect::NotExecuted && lost.failure.is_passing();
                    if !again || left == 0 {
                        return Err((lost, tasks));
                    }
                }
            }
        }
    }

    async fn attempt(&self, tasks: &mut [Box<dyn Task>]) -> Result<Option<Position>, Lost> {
        let mut needs = Needs::default();
        for task in tasks.iter() {
            task.needs(&mut needs);
        }
        let server = &self.server;
        let session = server.lend(&server.writing).await?;
        let client = session.client();
        let (mut ledger, _) = group::load(server, client, BEGIN, &needs).await?;
        for task in tasks.iter_mut() {
            task.decide(&mut ledger);
        }
        if !ledger.has_changed() {
            server.within(client.batch_execute("ROLLBACK")).await?;
            session.keep();
            return Ok(None);
        }
        // The server ends who stood still meanwhile: then nothing was sent, and nothing has happened.
        if client.is_closed() {
            return Err(Failure::Closed.into());
        }
        let written = write(server, client, &ledger, "COMMIT").await;
        written.map_err(|failure| Lost {
            effect: failure.effect_of_commit(),
            failure,
        })?;
        session.keep();
        Ok(Some(ledger.head))
    }
}

/// How many of the tasks, from the first on, go into one transaction.
fn fitting(tasks: &[Box<dyn Task>]) -> usize {
    let mut bytes = 0;
    let fit = tasks.iter().take_while(|task| {
        bytes += task.bytes();
        bytes <= GROUP_BYTES
    });
    fit.count().max(1)
}

fn give_up(lost: Lost, tasks: Vec<Box<dyn Task>>) {
    let unavailable = lost.failure.told(lost.effect);
    for task in tasks {
        task.settle(Err(unavailable.clone()));
    }
}
