//! The one thread that writes, and how many writes share one `fsync`.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::Duration;

use backstay_core::Effect;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Params, Row, Transaction, TransactionBehavior,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::OpenError;
use super::SqliteOptions;
use super::apply::{self, Swept};
use super::guard::Guard;
use super::open::{cause, told};
use crate::{Cause, Position, Timestamp, Unavailable};

/// As many writes share one `fsync` at most. More would make the first of them wait for long.
const GROUP: usize = 512;
/// And as many bytes, unless one batch alone has more.
const GROUP_BYTES: usize = 8 << 20;
/// A transaction whose tasks have taken so long takes no more of them: other processes wait for the file.
const GROUP_TIME: Duration = Duration::from_millis(250);
/// After such a one the file is free for so long, because SQLite looks every 100 ms whether it is.
const LET_OTHERS: Duration = Duration::from_millis(120);
/// As many wait for the writer; who comes then waits for a place.
const WAITING: usize = 4 * GROUP;
/// After a group the thread stays awake for so long.
const AWAKE: Duration = Duration::from_micros(50);
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
        path: &Path,
        mut connection: Connection,
        options: SqliteOptions,
    ) -> Result<Self, OpenError> {
        let (jobs, waiting) = mpsc::channel();
        let (tell, changed) = watch::channel(0);
        let guard = Guard::watch(&mut connection).map_err(|error| OpenError::of(path, error))?;
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
            .map_err(|error| OpenError::io(path, error))?;
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
    /// Whether statements of the user's are part of it: they can leave more than the rows that SQLite counts.
    fn is_users(&self) -> bool;
    /// Does it, as often as asked; only the last time counts. False if nothing of it may stay.
    fn run(&mut self, group: &mut Group<'_>) -> bool;
    /// Tells what came of it, or what became of the transaction instead.
    fn settle(self: Box<Self>, committed: Result<(), Unavailable>);
}

/// A task made of a function.
pub(super) struct Job<T, E, F> {
    run: F,
    is_users: bool,
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
            is_users: false,
            answer: None,
            reply,
        }
    }

    pub(super) fn of_user(run: F, reply: oneshot::Sender<Result<T, E>>) -> Self {
        Self {
            is_users: true,
            ..Self::new(run, reply)
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

    fn is_users(&self) -> bool {
        self.is_users
    }

    fn run(&mut self, group: &mut Group<'_>) -> bool {
        let answer = (self.run)(group);
        let stays = answer.is_ok();
        let_go(self.answer.replace(answer));
        stays
    }

    fn settle(self: Box<Self>, committed: Result<(), Unavailable>) {
        let Self {
            run, answer, reply, ..
        } = *self;
        let (told, unused) = match (committed, answer) {
            (Ok(()), Some(answer)) => (answer, None),
            (Err(unavailable), unused) => (Err(unavailable.into()), unused),
            (Ok(()), None) => {
                let unavailable = Unavailable::new(Cause::Closed, Effect::NotExecuted);
                (Err(unavailable.into()), None)
            }
        };
        // Whoever asked may have gone.
        let_go(reply.send(told));
        let_go(unused);
        let_go(run);
    }
}

/// Drops what may be the user's: a panic in it must not end the thread that writes.
fn let_go<T>(value: T) {
    let _ = contained(|| drop(value));
}

/// Runs what is the user's. None if it panics.
pub(super) fn contained<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run))
        // What it panics with may panic again when it is dropped.
        .map_err(std::mem::forget)
        .ok()
}

/// The transaction that several tasks share, as one of them sees it.
pub(super) struct Group<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) guard: &'a Guard,
    pub(super) options: &'a SqliteOptions,
    /// The store's clock, the same for all of the group.
    pub(super) now: Timestamp,
    pub(super) head: Position,
    /// How large the values are that it holds.
    pub(super) bytes: usize,
    /// By the guard's clock.
    begun: Duration,
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

/// How much of a group goes into one transaction, and went.
struct Extent {
    tasks: usize,
    /// Each task has a savepoint, and not only those that are the user's.
    each_apart: bool,
    /// It held the file for long.
    is_long: bool,
}

/// How a transaction ended.
enum End {
    Committed,
    /// Nothing of it is there, because a task that has no savepoint failed after it had written.
    Mixed,
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
            let first = match self.next(idle) {
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
                } else {
                    let_go(task);
                }
            }
            drop(places);
            self.write(tasks);
        }
    }

    /// The next job. Who writes one after the other has the next soon after the answer; to sleep and be woken takes longer.
    fn next(
        &self,
        idle: Duration,
    ) -> Result<(Box<dyn Task>, OwnedSemaphorePermit), RecvTimeoutError> {
        let since = self.guard.elapsed();
        loop {
            match self.waiting.try_recv() {
                Ok(next) => return Ok(next),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if self.guard.elapsed().saturating_sub(since) >= AWAKE {
                return self.waiting.recv_timeout(idle);
            }
            thread::yield_now();
        }
    }

    /// Whether there is more to sweep. What can't be swept now is swept later.
    fn sweep(&mut self) -> bool {
        let (reply, mut answer) = oneshot::channel::<Result<Swept, Unavailable>>();
        self.write(vec![Box::new(Job::new(apply::sweep, reply))]);
        matches!(answer.try_recv(), Ok(Ok(Swept { more: true, .. })))
    }

    fn write(&mut self, mut tasks: Vec<Box<dyn Task>>) {
        let mut most = tasks.len();
        let mut each_apart = false;
        while !tasks.is_empty() {
            let mut extent = Extent {
                tasks: most.min(tasks.len()),
                each_apart,
                is_long: false,
            };
            let end = self.transact(&mut tasks, &mut extent);
            let ran = extent.tasks;
            most = tasks.len();
            match end.unwrap_or_else(End::Failed) {
                End::Committed => {
                    tasks.drain(..ran).for_each(|task| task.settle(Ok(())));
                }
                End::Mixed => each_apart = true,
                // Its own answer says why; the others did nothing wrong. Those before it run once more and not again
                // and again, should another one behind them do the same.
                End::LostBy(task, noticed) => {
                    tasks.remove(task).settle(noticed);
                    if task > 0 {
                        most = task;
                    }
                }
                // Which of them shows when each is alone.
                End::Refused(_) if ran > 1 => {
                    let rest = tasks.split_off(ran);
                    for task in std::mem::replace(&mut tasks, rest) {
                        self.write(vec![task]);
                    }
                }
                End::Refused(unavailable) | End::Failed(unavailable) => {
                    for task in tasks.drain(..ran) {
                        task.settle(Err(unavailable.clone()));
                    }
                }
            }
            if extent.is_long {
                let_others();
            }
        }
    }

    /// Runs so many of the tasks in one transaction, or fewer where they take long or much room.
    fn transact(
        &mut self,
        tasks: &mut [Box<dyn Task>],
        extent: &mut Extent,
    ) -> Result<End, Unavailable> {
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
            bytes: 0,
            begun: self.guard.elapsed(),
        };
        let state = "SELECT head, clock FROM backstay_state";
        let (head, clock) = group
            .row(state, [], |row| Ok((row.get(0)?, row.get(1)?)))?
            .ok_or_else(|| Unavailable::new(Cause::Corrupt, Effect::NotExecuted))?;
        (group.head, group.now) = (head, self.options.clock.after(clock));
        let mut changed = false;
        for (number, task) in tasks.iter_mut().enumerate().take(extent.tasks) {
            // A batch of ours mostly fails before it writes, and a savepoint costs as much as a row.
            let is_apart = extent.each_apart || task.is_users();
            if is_apart {
                group.run("SAVEPOINT task", [])?;
            }
            let before = (group.head, group.bytes);
            let rows = transaction.total_changes();
            let stays = task.run(&mut group);
            extent.is_long = group.guard.elapsed().saturating_sub(group.begun) >= GROUP_TIME;
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
                if is_apart {
                    group.run("ROLLBACK TO task", [])?;
                } else if transaction.total_changes() != rows {
                    return Ok(End::Mixed);
                }
                (group.head, group.bytes) = before;
            }
            if is_apart {
                group.run("RELEASE task", [])?;
            }
            if extent.is_long || group.bytes >= GROUP_BYTES {
                extent.tasks = number + 1;
                break;
            }
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

#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells a thread that another process waits for the file"
)]
fn let_others() {
    thread::sleep(LET_OTHERS);
}
