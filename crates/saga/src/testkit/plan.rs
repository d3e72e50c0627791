//! When what happens.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::case::{Case, Flaw, Kind};
use crate::Json;
use crate::error::{StepError, UndoError};

type Call<T, E> = BoxFuture<'static, Result<T, E>>;

/// What a person does, once more each time.
pub(super) type Person = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A case under way, which all its workers share.
pub(super) struct Course {
    case: Case,
    commits: AtomicUsize,
    calls: AtomicUsize,
    /// As many commits there were when the last fault so far happened.
    struck_at: AtomicUsize,
    late: Mutex<Vec<BoxFuture<'static, ()>>>,
    away_until: Mutex<Option<Instant>>,
    person: Option<Person>,
    /// The person has seen it at rest.
    was_seen: AtomicBool,
}

/// One worker's part in a case.
pub(crate) struct Plan {
    pub(super) course: Arc<Course>,
    pub(crate) flaw: Option<Flaw>,
    /// What has become of the worker.
    pub(super) gate: watch::Sender<Option<Struck>>,
}

/// What happens to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Struck {
    Killed,
    Stopped,
    /// It was stopped, and goes on.
    Waking,
}

/// What a case has counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) commits: usize,
    pub(super) calls: usize,
    pub(super) struck_at: usize,
}

impl Course {
    pub(super) fn new(case: Case, person: Option<Person>) -> Self {
        Self {
            case,
            person,
            commits: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            struck_at: AtomicUsize::new(0),
            late: Mutex::default(),
            away_until: Mutex::default(),
            was_seen: AtomicBool::new(false),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            commits: self.commits.load(SeqCst),
            calls: self.calls.load(SeqCst),
            struck_at: self.struck_at.load(SeqCst),
        }
    }

    pub(super) fn at_commit(&self) -> Vec<Kind> {
        let number = self.commits.fetch_add(1, SeqCst) + 1;
        let kinds = self.case.at_commit(number);
        if !kinds.is_empty() {
            self.struck_at.store(number, SeqCst);
        }
        kinds
    }

    fn at_call(&self) -> Option<Kind> {
        let number = self.calls.fetch_add(1, SeqCst) + 1;
        let kind = self.case.at_call(number)?;
        self.struck_at.store(self.commits.load(SeqCst), SeqCst);
        Some(kind)
    }

    /// The store answers nobody for so long.
    pub(super) fn go_away(&self, time: Duration) {
        *lock(&self.away_until) = Some(Instant::now() + time);
    }

    /// The store is there again, if it was away.
    pub(super) fn come_back(&self) {
        *lock(&self.away_until) = None;
    }

    pub(super) fn is_away(&self) -> bool {
        lock(&self.away_until).is_some_and(|until| Instant::now() < until)
    }

    pub(super) async fn person(&self) {
        if let Some(person) = &self.person {
            person().await;
        }
    }

    /// Whether there is a person who has not yet seen the instance at rest.
    pub(super) fn has_person(&self) -> bool {
        self.person.is_some() && !self.was_seen.load(SeqCst)
    }

    pub(super) async fn person_at_rest(self: &Arc<Self>) {
        self.was_seen.store(true, SeqCst);
        let course = self.clone();
        // It is done, whatever becomes of the worker meanwhile.
        let acts = tokio::spawn(async move { course.person().await });
        if let Err(panic) = acts.await {
            resume_unwind(panic.into_panic());
        }
    }

    /// Calls that arrive when all is over.
    pub(super) fn late(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut lock(&self.late))
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("case", &self.course.case)
            .finish_non_exhaustive()
    }
}

impl Plan {
    pub(super) fn new(course: Arc<Course>, flaw: Option<Flaw>) -> Self {
        Self {
            course,
            flaw,
            gate: watch::Sender::new(None),
        }
    }

    /// Waits until the worker is killed or stopped.
    pub(super) async fn struck(&self) -> Struck {
        let mut gate = self.gate.subscribe();
        match gate.wait_for(Option::is_some).await.map(|struck| *struck) {
            Ok(Some(struck)) => struck,
            _ => std::future::pending().await,
        }
    }

    /// A call of a step, as the case has it. It can be made again.
    pub(crate) fn step(
        &self,
        call: Call<Json, StepError>,
        again: impl Fn() -> Option<Call<Json, StepError>> + Send + 'static,
    ) -> Call<Json, StepError> {
        let refused = || StepError::failed("refused, as the case has it");
        let lost = || StepError::unknown("lost, as the case has it");
        self.call(call, again, refused, lost)
    }

    /// A call of an undo, as the case has it. It can be made again.
    pub(crate) fn undo(
        &self,
        call: Call<(), UndoError>,
        again: impl Fn() -> Option<Call<(), UndoError>> + Send + 'static,
    ) -> Call<(), UndoError> {
        let refused = || UndoError::give_up("refused, as the case has it");
        let lost = || UndoError::again("lost, as the case has it");
        self.call(call, again, refused, lost)
    }

    fn call<T: Send + 'static, E: Send + 'static>(
        &self,
        call: Call<T, E>,
        again: impl Fn() -> Option<Call<T, E>> + Send + 'static,
        refused: fn() -> E,
        lost: fn() -> E,
    ) -> Call<T, E> {
        match self.course.at_call() {
            Some(Kind::Lost) => async move { Err(lost()) }.boxed(),
            Some(Kind::Refused) => async move { Err(refused()) }.boxed(),
            // Without a word of the panic hook, as there are many of them.
            Some(Kind::Panic) => async { resume_unwind(Box::new("as the case has it")) }.boxed(),
            Some(Kind::LostReply) => async move {
                // Whatever it was: nobody hears of it.
                let _ = call.await;
                Err(lost())
            }
            .boxed(),
            Some(Kind::Twice) => async move {
                let first = call.await;
                match again() {
                    Some(again) => again.await,
                    None => first,
                }
            }
            .boxed(),
            Some(Kind::Late) => {
                lock(&self.course.late).push(call.map(drop).boxed());
                async move { Err(lost()) }.boxed()
            }
            Some(Kind::KillIn) => {
                let gate = self.gate.clone();
                async move {
                    let _ = call.await;
                    gate.send_replace(Some(Struck::Killed));
                    std::future::pending().await
                }
                .boxed()
            }
            _ => call,
        }
    }
}
