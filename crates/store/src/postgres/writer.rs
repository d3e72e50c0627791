//! The one task that writes, and how many writes share one transaction.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_core::Effect;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

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
const SWEEP_EVERY: Duration = Duration::from_secs(60);

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
        let mut next_sweep = Instant::now() + SWEEP_EVERY;
        let mut tasks = Vec::new();
        loop {
            let came = self.waiting.recv_many(&mut tasks, GROUP);
            if timeout_at(next_sweep, came).await == Ok(0) {
                return;
            }
            if Instant::now() >= next_sweep {
                // What can't be swept now is swept later.
                if let Ok((_, Some(head))) = sweep::sweep(&self.server).await {
                    self.hint.committed(head);
                }
                next_sweep = Instant::now() + SWEEP_EVERY;
            }
            tasks.retain(|task| task.is_wanted());
            let mut left = std::mem::take(&mut tasks);
            while !left.is_empty() {
                let rest = left.split_off(fitting(&left));
                self.write(std::mem::replace(&mut left, rest)).await;
            }
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
