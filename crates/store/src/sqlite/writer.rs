//! The one thread that writes, and how many writes share one `fsync`.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use backstay_core::Effect;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Params, Row, Transaction, TransactionBehavior,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::SqliteOptions;
use super::apply::{self, Swept};
use super::guard::Guard;
use super::open::{OpenError, cause, told};
use crate::{Cause, Position, Timestamp, Unavailable};

/// As many writes share one `fsync` at most. More would make the first of them wait for long.
const GROUP: usize = 512;
/// As many wait for the writer; who comes then waits for a place.
const WAITING: usize = 4 * GROUP;
/// By the store's clock.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The way to the thread, which ends with the last way to it.
pub(super) struct Writer {
    jobs: mpsc::Sender<(Box<dyn Task>, OwnedSemaphorePermit)>,
    places: Arc<Semaphore>,
    changed: watch::Receiver<u64>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(
        mut connection: Connection,
        options: SqliteOptions,
    ) -> Result<Self, OpenError> {
        let (jobs, waiting) = mpsc::channel();
        let (tell, changed) = watch::channel(0);
        let guard = Guard::watch(&mut connection)?;
        let thread = Thread {
            connection,
            guard,
            options,
            waiting,
            tell,
        };
        thread::Builder::new()
            .name("backstay-store".to_owned())
            .spawn(move || thread.work())
            .map_err(OpenError::Io)?;
        Ok(Self {
            jobs,
            places: Arc::new(Semaphore::new(WAITING)),
            changed,
        })
    }

    /// Hands a job to the thread, as soon as there is a place for it.
    pub(super) fn ask(
        &self,
        job: Box<dyn Task>,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send + use<> {
        let (jobs, places) = (self.jobs.clone(), self.places.clone());
        let closed = || Unavailable::new(Cause::Closed, Effect::NotExecuted);
        async move {
            let place = places.acquire_owned().await.map_err(|_| closed())?;
            jobs.send((job, place)).map_err(|_| closed())
        }
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

/// Something to write, and somebody who waits for it.
pub(super) trait Task: Send {
    /// Whether anybody still waits.
    fn is_wanted(&self) -> bool;
    /// Does it, as often as asked; only the last time counts. False if nothing of it may stay.
    fn run(&mut self, group: &mut Group<'_>) -> bool;
    /// Tells what came of it, or what became of the transaction instead.
    fn settle(self: Box<Self>, committed: Result<(), Unavailable>);
}

/// A task made of a function.
pub(super) struct Job<T, E, F> {
    run: F,
    answer: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job<T, E, F>
where
    F: Fn(&mut Group<'_>) -> Result<T, E> + Send,
{
    pub(super) fn new(run: F, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self {
            run,
            answer: None,
            reply,
        }
    }
}

impl<T, E, F> Task for Job<T, E, F>
where
    T: Send,
    E: From<Unavailable> + Send,
    F: Fn(&mut Group<'_>) -> Result<T, E> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, group: &mut Group<'_>) -> bool {
        let answer = (self.run)(group);
        let stays = answer.is_ok();
        self.answer = Some(answer);
        stays
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

/// The transaction that several tasks share, as one of them sees it.
pub(super) struct Group<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) guard: &'a Guard,
    pub(super) options: &'a SqliteOptions,
    /// The store's clock, the same for all of the group.
    pub(super) now: Timestamp,
    pub(super) head: Position,
}

impl Group<'_> {
    /// Runs a statement.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, Unavailable> {
        self.transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(told)
    }

    /// The first row of a query.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Unavailable> {
        self.transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(params, read).optional())
            .map_err(told)
    }

    /// The next position.
    pub(super) fn advance(&mut self) -> Position {
        self.head = self.head.next();
        self.head
    }
}

struct Thread {
    connection: Connection,
    guard: Guard,
    options: SqliteOptions,
    waiting: Receiver<(Box<dyn Task>, OwnedSemaphorePermit)>,
    tell: watch::Sender<u64>,
}

/// How a transaction ended.
enum End {
    Committed,
    /// Nothing of it is there, and by which task; the others can be tried again. That task may not have noticed.
    LostBy(usize, Result<(), Unavailable>),
    /// Nothing of it is there, because what one of them did must not be committed.
    Refused(Unavailable),
    Failed(Unavailable),
}

impl Thread {
    fn work(mut self) {
        let mut sweep_at = self.options.clock.now().plus(SWEEP_EVERY);
        loop {
            // Between two groups, however many follow each other.
            let now = self.options.clock.now();
            let more = sweep_at <= now && self.sweep();
            if !more {
                let next = now.plus(SWEEP_EVERY);
                sweep_at = if sweep_at <= now {
                    next
                } else {
                    sweep_at.min(next)
                };
            }
            let idle = if more { Duration::ZERO } else { SWEEP_EVERY };
            let first = match self.waiting.recv_timeout(idle) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut places = Vec::new();
            let mut tasks = Vec::new();
            for (task, place) in
                std::iter::once(first).chain(self.waiting.try_iter().take(GROUP - 1))
            {
                places.push(place);
                if task.is_wanted() {
                    tasks.push(task);
                }
            }
            drop(places);
            self.write(tasks);
        }
    }

    /// Whether there is more to sweep. What can't be swept now is swept later.
    fn sweep(&mut self) -> bool {
        let (reply, mut answer) = oneshot::channel::<Result<Swept, Unavailable>>();
        self.write(vec![Box::new(Job::new(apply::sweep, reply))]);
        matches!(answer.try_recv(), Ok(Ok(Swept { more: true, .. })))
    }

    fn write(&mut self, mut tasks: Vec<Box<dyn Task>>) {
        while !tasks.is_empty() {
            match self.attempt(&mut tasks) {
                End::Committed => {
                    tasks.drain(..).for_each(|task| task.settle(Ok(())));
                }
                // Its own answer says why; the others did nothing wrong.
                End::LostBy(task, noticed) => tasks.remove(task).settle(noticed),
                // Which of them shows when each is alone.
                End::Refused(_) if tasks.len() > 1 => {
                    for task in tasks.drain(..) {
                        self.write(vec![task]);
                    }
                }
                End::Refused(unavailable) | End::Failed(unavailable) => {
                    for task in tasks.drain(..) {
                        task.settle(Err(unavailable.clone()));
                    }
                }
            }
        }
    }

    fn attempt(&mut self, tasks: &mut [Box<dyn Task>]) -> End {
        match self.transact(tasks) {
            Ok(end) => end,
            Err(unavailable) => End::Failed(unavailable),
        }
    }

    fn transact(&mut self, tasks: &mut [Box<dyn Task>]) -> Result<End, Unavailable> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(told)?;
        let mut group = Group {
            transaction: &transaction,
            guard: &self.guard,
            options: &self.options,
            now: Timestamp::default(),
            head: Position::START,
        };
        let state = "SELECT head, clock FROM backstay_state";
        let (head, clock) = group
            .row(state, [], |row| Ok((row.get(0)?, row.get(1)?)))?
            .ok_or_else(|| Unavailable::new(Cause::Corrupt, Effect::NotExecuted))?;
        (group.head, group.now) = (head, self.options.clock.after(clock));
        let mut changed = false;
        for (number, task) in tasks.iter_mut().enumerate() {
            group.run("SAVEPOINT task", [])?;
            let before = group.head;
            let stays = task.run(&mut group);
            // Some errors make SQLite give up the whole transaction.
            if transaction.is_autocommit() {
                let noticed = if stays {
                    Err(Unavailable::new(Cause::Storage, Effect::NotExecuted))
                } else {
                    Ok(())
                };
                return Ok(End::LostBy(number, noticed));
            }
            if stays {
                changed = true;
            } else {
                group.head = before;
                group.run("ROLLBACK TO task", [])?;
            }
            group.run("RELEASE task", [])?;
        }
        if !changed {
            return Ok(End::Committed);
        }
        let state = "UPDATE backstay_state SET head = ?1, clock = ?2";
        group.run(state, (group.head, group.now))?;
        let head = group.head;
        match transaction.commit() {
            Ok(()) => {
                self.tell.send_replace(head.get());
                Ok(End::Committed)
            }
            // A foreign key of the user's that is looked at last. It is rolled back.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Ok(End::Refused(told(error)))
            }
            // It may be on disk and be found there after a restart.
            Err(error) => Err(Unavailable::new(cause(&error), Effect::Unknown).because(error)),
        }
    }
}
