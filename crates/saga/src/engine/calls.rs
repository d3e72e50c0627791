//! Calls of steps, and what becomes of them.

use std::collections::BTreeMap;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use backstay_store::Timestamp;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout_at};

use super::child;
use super::instance::Instance;
use crate::cx::{Call, Parts, Purpose};
use crate::define::Run;
use crate::error::{StepEffect, StepError, UndoError};
use crate::graph::Work;
use crate::json::{Json, Unreadable};
use crate::log::{Cause, Entry};
use crate::machine::{Back, Forward, LARGE, State};

/// Calls under way, by step.
#[derive(Default)]
pub(super) struct Calls {
    running: FuturesUnordered<Abortable<BoxFuture<'static, Ended>>>,
    /// Those that have ended while something else was waited for.
    ended: Vec<Ended>,
    /// Of both.
    aborts: BTreeMap<usize, AbortHandle>,
}

impl Calls {
    /// Nobody waits for any.
    pub(super) fn is_empty(&self) -> bool {
        self.aborts.is_empty()
    }

    /// Whether [`next`](Self::next) has something to do, be it to drop what was given up.
    pub(super) fn is_polled(&self) -> bool {
        !self.running.is_empty() || !self.ended.is_empty()
    }

    pub(super) fn has(&self, step: usize) -> bool {
        self.aborts.contains_key(&step)
    }

    /// Whether anything is called but sagas within this one, which run by themselves.
    pub(super) fn has_own(&self, state: &State) -> bool {
        let is_child = |step: &usize| matches!(state.graph.steps[*step].work, Work::Child { .. });
        !self.aborts.keys().all(is_child)
    }

    pub(super) fn add(&mut self, step: usize, call: BoxFuture<'static, Ended>) {
        let (abort, registration) = AbortHandle::new_pair();
        self.running.push(Abortable::new(call, registration));
        self.aborts.insert(step, abort);
    }

    /// Gives up the others.
    pub(super) fn keep(&mut self, is_wanted: impl Fn(usize) -> bool) {
        self.aborts.retain(|step, abort| {
            let stays = is_wanted(*step);
            if !stays {
                abort.abort();
            }
            stays
        });
        self.ended.retain(|ended| is_wanted(ended.step));
    }

    /// Waits for something else, and the calls go on meanwhile.
    pub(super) async fn during<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                done = &mut other => return done,
                // One that was given up has no end.
                Some(ended) = self.running.next() => self.ended.extend(ended.ok()),
            }
        }
    }

    /// All that have ended, one at least, unless the last was given up.
    pub(super) async fn next(&mut self) -> Vec<Ended> {
        loop {
            let next = if self.ended.is_empty() {
                self.running.next().await
            } else {
                self.running.next().now_or_never().flatten()
            };
            match next {
                Some(ended) => self.ended.extend(ended.ok()),
                None => break,
            }
        }
        let all = std::mem::take(&mut self.ended);
        for ended in &all {
            self.aborts.remove(&ended.step);
        }
        all
    }
}

/// What became of a call.
#[derive(Debug)]
pub(super) struct Ended {
    step: usize,
    result: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Step(Result<Json, StepError>),
    Undo(Result<(), UndoError>),
    /// The code can't read what the step takes: nothing was called.
    Unreadable(Purpose, Unreadable),
}

impl Ended {
    /// How large what the user gave is in it.
    pub(super) fn bytes(&self) -> usize {
        match &self.result {
            Outcome::Step(Ok(output)) => output.text().len(),
            _ => 0,
        }
    }

    pub(super) fn done(step: usize, output: Result<Json, StepError>) -> Self {
        let result = Outcome::Step(output);
        Self { step, result }
    }

    pub(super) fn undone(step: usize, undone: Result<(), UndoError>) -> Self {
        let result = Outcome::Undo(undone);
        Self { step, result }
    }

    /// What is written of it: nothing, if it was decided meanwhile what becomes of the step.
    pub(super) fn entries<App>(
        &self,
        state: &State,
        run: &dyn Run<App>,
        now: Timestamp,
    ) -> Vec<Entry> {
        let step = self.step;
        let is_running = matches!(state.steps[step].forward, Forward::Running(_));
        let is_undoing = state.steps[step].back == Back::Running;
        let random = fastrand::u64(..);
        let policy = run.policy(step);
        match &self.result {
            Outcome::Step(Ok(output)) if is_running => vec![Entry::Done {
                step,
                output: output.clone(),
            }],
            Outcome::Step(Err(error)) if is_running => {
                vec![state.failed(step, error, policy, now, random)]
            }
            Outcome::Undo(Ok(())) if is_undoing => vec![Entry::Undone { step }],
            Outcome::Undo(Err(error)) if is_undoing => {
                vec![state.undo_failed(step, error, policy, now, random)]
            }
            Outcome::Unreadable(Purpose::Do, unreadable) if is_running => vec![
                Entry::Failed {
                    step,
                    effect: StepEffect::NotExecuted,
                    error: unreadable.told(),
                    again_at: Some(now),
                },
                parked(step, unreadable),
            ],
            Outcome::Unreadable(Purpose::Undo, unreadable) if is_undoing => vec![
                Entry::UndoFailed {
                    step,
                    error: unreadable.told(),
                    again_at: Some(now),
                },
                parked(step, unreadable),
            ],
            _ => Vec::new(),
        }
    }
}

fn parked(step: usize, unreadable: &Unreadable) -> Entry {
    let cause = Cause::Unreadable(step, unreadable.told());
    Entry::Park { cause }
}

/// The call of a step; none if it only waits for time or a signal.
pub(super) fn forward<App: Send + Sync + 'static>(
    instance: &Instance<App>,
    step: usize,
) -> Option<BoxFuture<'static, Ended>> {
    if let Work::Child { .. } = instance.state.graph.steps[step].work {
        return Some(child::run(instance, step));
    }
    let policy = instance.run.policy(step);
    let deadline = Instant::now() + policy.timeout;
    let parts = parts(instance, step, Purpose::Do, deadline);
    let inputs = inputs(instance, step);
    let (run, app) = (instance.run.clone(), instance.worker.app.clone());
    let call = move || run.call(step, &app, parts.clone(), &inputs);
    let called = match contained(&call) {
        Some(called) => match called? {
            Ok(called) => called,
            Err(unreadable) => return Some(unread(step, Purpose::Do, unreadable)),
        },
        None => ready(Err(StepError::unknown(PANICKED))).boxed(),
    };
    #[cfg(feature = "test-util")]
    let called = match &instance.worker.options.plan {
        Some(plan) => plan.step(called, move || call()?.ok()),
        None => called,
    };
    let limit = instance.worker.store().limits().value_bytes;
    let call = async move {
        let result = match timeout_at(deadline, AssertUnwindSafe(called).catch_unwind()).await {
            Ok(Ok(result)) => result.and_then(|output| fits(output, limit)),
            Ok(Err(panic)) => {
                let_go(panic);
                Err(StepError::unknown(PANICKED))
            }
            Err(_) => Err(StepError::unknown(TOO_LATE)),
        };
        Ended::done(step, result)
    };
    let panicked = move || Ended::done(step, Err(StepError::unknown(PANICKED)));
    Some(unwound(call, panicked).boxed())
}

/// The call of a step's undo.
pub(super) fn undo<App: Send + Sync + 'static>(
    instance: &Instance<App>,
    step: usize,
) -> Option<BoxFuture<'static, Ended>> {
    if let Work::Child { .. } = instance.state.graph.steps[step].work {
        return Some(child::undo(instance, step));
    }
    let policy = instance.run.policy(step);
    let deadline = Instant::now() + policy.undo_timeout;
    let parts = parts(instance, step, Purpose::Undo, deadline);
    let inputs = inputs(instance, step);
    let output = instance.state.steps[step].output().cloned();
    let (run, app) = (instance.run.clone(), instance.worker.app.clone());
    let call = move || run.undo(step, &app, parts.clone(), output.as_ref(), &inputs);
    let undoing = match contained(&call) {
        Some(undoing) => match undoing? {
            Ok(undoing) => undoing,
            Err(unreadable) => return Some(unread(step, Purpose::Undo, unreadable)),
        },
        None => ready(Err(UndoError::again(PANICKED))).boxed(),
    };
    #[cfg(feature = "test-util")]
    let undoing = match &instance.worker.options.plan {
        Some(plan) => plan.undo(undoing, move || call()?.ok()),
        None => undoing,
    };
    let call = async move {
        let result = match timeout_at(deadline, AssertUnwindSafe(undoing).catch_unwind()).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                let_go(panic);
                Err(UndoError::again(PANICKED))
            }
            Err(_) => Err(UndoError::again(TOO_LATE)),
        };
        Ended::undone(step, result)
    };
    let panicked = move || Ended::undone(step, Err(UndoError::again(PANICKED)));
    Some(unwound(call, panicked).boxed())
}

/// The call, also when what it drops panics.
async fn unwound(call: impl Future<Output = Ended>, panicked: impl FnOnce() -> Ended) -> Ended {
    let ended = AssertUnwindSafe(call).catch_unwind().await;
    ended.unwrap_or_else(|panic| {
        let_go(panic);
        panicked()
    })
}

fn unread(step: usize, purpose: Purpose, unreadable: Unreadable) -> BoxFuture<'static, Ended> {
    let result = Outcome::Unreadable(purpose, unreadable);
    ready(Ended { step, result }).boxed()
}

/// What can't be written down is as if nobody had heard it; another attempt would say the same.
fn fits(output: Json, limit: usize) -> Result<Json, StepError> {
    // The record has some more around it.
    let limit = limit.saturating_sub(SLACK);
    let bytes = output.text().len();
    if bytes <= limit {
        return Ok(output);
    }
    let what = format!("the step's output has {bytes} bytes, and {limit} are allowed");
    Err(StepError::unknown_for_good(what))
}

/// What a record has around an output.
pub(super) const SLACK: usize = LARGE + (16 << 10);

const PANICKED: &str = "the code panicked";
const TOO_LATE: &str = "the attempt's time was over";

/// None if it panics.
fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(let_go).ok()
}

/// The panic's value may panic when it is dropped.
fn let_go(panic: Box<dyn std::any::Any + Send>) {
    std::mem::forget(panic);
}

fn parts<App>(instance: &Instance<App>, step: usize, purpose: Purpose, deadline: Instant) -> Parts {
    let state = &instance.state.steps[step];
    let attempt = match purpose {
        Purpose::Do => state.attempts,
        Purpose::Undo => state.undo_attempts,
    };
    Parts {
        input: instance.input.clone(),
        call: Arc::new(Call {
            group: instance.worker.names().group().into(),
            saga: instance.name.saga.clone(),
            id: instance.name.id.clone(),
            number: step,
            step: instance.state.graph.steps[step].name.clone(),
            purpose,
            attempt,
            fence: instance.fence.clone(),
            deadline,
            locals: instance.locals.0.clone(),
        }),
    }
}

/// What a step is given. It has begun, or been undone, so all that it needs was done.
fn inputs<App>(instance: &Instance<App>, step: usize) -> Json {
    let needs = &instance.state.graph.steps[step].needs;
    let outputs = needs
        .iter()
        .filter_map(|need| instance.state.steps[*need].output().cloned());
    instance.run.inputs(step, &outputs.collect::<Vec<_>>())
}
