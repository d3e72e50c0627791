//! The future of one call: it asks the policies in their order, makes the attempts and books their ends.
//!
//! A hand-written state machine: an async block could not say in `drop` what it was doing, and its type would
//! ask more of the user's closure than `Fn(Attempt) -> impl Future`. What a call needs only when something goes
//! wrong lies in a box of its own, so that the future is small to move and a call that succeeds at its first
//! attempt allocates nothing.

mod decide;
mod flight;
mod state;
mod timer;
mod wait;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use backstay_core::bulkhead::Entry;
use backstay_core::{Abandoned, Class, Effect, Fault, Moment, Outcome};
use pin_project_lite::pin_project;

use crate::attempt::{AttemptRecord, Attempts};
use crate::classify::Classify;
use crate::deadline::Scope;
use crate::error::{CallError, Rejected, Stop};
use crate::event::EventKind;
use crate::inner::Inner;
use crate::key::Key;
use crate::operation::Operation;
use crate::plan::nanos;
use crate::policy::Policy;
use crate::turn::wake;
pub(crate) use decide::LONGEST_PAUSE;
use decide::{arrive, book, call, conclude, queue_up, refund, settle};
use flight::{Flight, Last, Rare};
pub(crate) use state::Kind;
use state::{Phase, Running, State};
pub(crate) use timer::Timer;

pin_project! {
    /// A call under way, as [`Pipeline::call`](crate::Pipeline::call) and its kin return it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the attempt under way and gives back whatever the call holds: its place in the queue
    /// or the bulkhead, its budget, its admission to the breaker. An attempt that is dropped after its time is
    /// a failure of the dependency; one that is dropped before says nothing about it.
    ///
    /// # Panics
    ///
    /// A panic of the operation or the classifier counts as a failure of the attempt, and goes on to the
    /// caller. Polling after the end or after a panic panics, and so does waiting outside of a tokio runtime
    /// with time enabled.
    #[must_use = "a call does nothing unless awaited"]
    pub struct Run<P, Op, Fut, C, T, E>
    where
        P: Deref<Target = Inner>,
    {
        inner: P,
        op: Op,
        classify: C,
        state: State,
        rare: Option<Box<Rare<Fut, T, E>>>,
        #[pin]
        first: Option<Fut>,
        #[pin]
        timer: Timer,
    }

    impl<P, Op, Fut, C, T, E> PinnedDrop for Run<P, Op, Fut, C, T, E>
    where
        P: Deref<Target = Inner>,
    {
        fn drop(this: Pin<&mut Self>) {
            if !matches!(this.state.phase, Phase::New | Phase::Done) {
                this.abandon();
            }
        }
    }
}

impl<P: Deref<Target = Inner>, Op, Fut, C, T, E> Run<P, Op, Fut, C, T, E> {
    #[inline]
    pub(crate) fn new(inner: P, op: Op, classify: C, kind: Kind, key: Option<Key>) -> Self {
        let state = State::new(kind, key);
        Self {
            inner,
            op,
            classify,
            state,
            rare: None,
            first: None,
            timer: Timer::new(),
        }
    }

    /// Gives this call at most `time` in all, counted from its first poll, if the pipeline gives it more.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.state.own_deadline = nanos(time);
        self
    }

    /// Takes so many permits of the bulkhead instead of one, for a call that costs as much as several.
    ///
    /// 0 counts as 1. A call that weighs more than the limit is refused.
    pub fn weight(mut self, permits: u32) -> Self {
        self.state.weight = permits;
        self
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// The attempts of a call that has succeeded.
    pub(crate) fn take_attempts(self: Pin<&mut Self>) -> Attempts {
        let this = self.project();
        if let Some(rare) = this.rare {
            return std::mem::take(&mut rare.attempts);
        }
        let mut attempts = Attempts::default();
        if this.state.launched > 0 {
            attempts.push(AttemptRecord {
                number: 1,
                started_after: Duration::ZERO,
                took: this.state.ended.since(this.state.start),
                waited: Duration::ZERO,
                outcome: Outcome::Success,
                effect: Effect::Executed,
                hedge: false,
            });
        }
        attempts
    }

    /// Gives back whatever a call holds whose caller has gone, or whose user code has panicked.
    #[cold]
    fn abandon(self: Pin<&mut Self>) {
        let this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        let now = state.now();
        let running = std::mem::replace(&mut state.running, Running::Ours);
        let in_flight = state.flight.is_some();
        let outcome = |flight: &Flight, panicked: bool| {
            if panicked {
                Outcome::Failure(Fault::Error)
            } else if now >= flight.timeout_at {
                Outcome::Abandoned(Abandoned::DeadlinePassed)
            } else {
                Outcome::Abandoned(Abandoned::CallerGone)
            }
        };
        if let Some(flight) = state.flight.take() {
            let outcome = outcome(&flight, running == Running::First);
            state.land(inner, flight, false, (outcome, Effect::Unknown), now);
        }
        if let Some(rare) = this.rare {
            if let Some(hedge) = rare.hedge.take() {
                let outcome = outcome(&hedge.flight, running == Running::Hedge);
                state.land(inner, hedge.flight, true, (outcome, Effect::Unknown), now);
                settle(inner, hedge.token, now);
            }
            if in_flight {
                settle(inner, rare.token.take(), now);
            } else {
                refund(inner, rare.token.take(), now);
            }
            if let Some(ticket) = rare.ticket.take() {
                wake(inner.gate.leave(ticket, now));
            }
        }
        if let Some(permit) = state.permit.take() {
            inner.release(permit, now);
        }
        state.phase = Phase::Done;
        let took = now.since(state.start);
        inner.emit(EventKind::CallDropped {
            attempts: state.number(),
            took,
        });
    }
}

impl<P, Op, Fut, C, T, E> Future for Run<P, Op, Fut, C, T, E>
where
    P: Deref<Target = Inner>,
    Op: Operation<Future = Fut>,
    Fut: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
{
    type Output = Result<T, CallError<E>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Only user code that panicked leaves it set. Going on would lose what the attempt holds.
        let sound = self.state.running == Running::Ours;
        assert!(sound, "a call was polled after it had panicked");
        loop {
            // Most calls pass all three in one turn. A jump by table between them costs more than the questions.
            if self.state.phase == Phase::New
                && let Some(over) = self.as_mut().enter(cx).over()
            {
                return over;
            }
            if self.state.phase == Phase::Ready
                && let Some(over) = self.as_mut().send().over()
            {
                return over;
            }
            let step = match self.state.phase {
                Phase::Flying => match self.as_mut().poll_first(cx) {
                    // Past every `Step`: an answer that is moved once less is worth a tenth of the whole call.
                    First::Success(value) => return Poll::Ready(Ok(value)),
                    First::Other(result, class, record) => {
                        self.as_mut().first_ended(result, class, record)
                    }
                    First::Nothing => None,
                }
                .unwrap_or_else(|| self.as_mut().fly(cx)),
                Phase::Queued => self.as_mut().wait_for_turn(cx),
                Phase::Pausing => self.as_mut().pause(cx),
                Phase::New | Phase::Ready => Step::Go,
                Phase::Done => panic!("a call was polled after it had ended"),
            };
            if let Some(over) = step.over() {
                return over;
            }
        }
    }
}

/// What polling the first attempt came to.
enum First<T, E> {
    /// It is not there, or has not ended.
    Nothing,
    /// It is the whole call, and has succeeded.
    Success(T),
    /// Any other end, booked with the policies.
    Other(Result<T, E>, Class, AttemptRecord),
}

/// What one turn of the state machine came to.
enum Step<T, E> {
    Go,
    Wait,
    End(Result<T, CallError<E>>),
}

impl<T, E> Step<T, E> {
    /// What the poll that took this turn returns, unless there is another turn to take.
    #[inline]
    fn over(self) -> Option<Poll<Result<T, CallError<E>>>> {
        match self {
            Self::Go => None,
            Self::Wait => Some(Poll::Pending),
            Self::End(result) => Some(Poll::Ready(result)),
        }
    }
}

impl<P, Op, Fut, C, T, E> Run<P, Op, Fut, C, T, E>
where
    P: Deref<Target = Inner>,
    Op: Operation<Future = Fut>,
    Fut: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
{
    /// Starts the call's time and asks for a place.
    #[inline]
    fn enter(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step<T, E> {
        let this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        state.begin(inner);
        state.phase = Phase::Ready;
        if let Some(key) = &state.key
            && let Err(invalid) = key.check()
        {
            let rejected = Rejected::Key(Box::new(invalid));
            let now = state.now();
            let stop = Stop::Rejected;
            return Step::End(conclude(inner, state, this.rare, stop, Some(rejected), now));
        }
        if !state.plan.on(Policy::Bulkhead) {
            return Step::Go;
        }
        if state.plan.observes(Policy::Bulkhead) {
            state.permit = inner.try_enter(state.weight, state.start);
            return Step::Go;
        }
        let entry = inner
            .gate
            .enter(state.weight, state.start, state.deadline, || {
                cx.waker().clone()
            });
        if let Entry::Admitted(permit) = entry {
            state.permit = Some(permit);
            return Step::Go;
        }
        queue_up(inner, state, this.rare, entry)
    }

    /// Sends an attempt on which nothing else waits: the first, or a repeat.
    #[inline]
    fn send(self: Pin<&mut Self>) -> Step<T, E> {
        let mut this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        let now = if this.rare.is_none() {
            state.start
        } else {
            state.now()
        };
        match state.take_off(inner, false, now) {
            Ok(flight) => {
                let attempt = state.attempt(&flight);
                state.flight = Some(flight);
                state.running = Running::First;
                let work = call(this.op, attempt);
                this.first.set(Some(work));
                state.running = Running::Ours;
                state.phase = Phase::Flying;
                Step::Go
            }
            Err((stop, rejected)) => {
                let now = state.now();
                Step::End(conclude(inner, state, this.rare, stop, Some(rejected), now))
            }
        }
    }

    /// The first attempt has not decided: polls the hedge, and sees to what is due.
    fn fly(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step<T, E> {
        if self.rare.is_some()
            && let Some(step) = self.as_mut().poll_hedge(cx)
        {
            return step;
        }
        self.wait_in_flight(cx)
    }

    #[inline]
    fn poll_first(self: Pin<&mut Self>, cx: &mut Context<'_>) -> First<T, E> {
        let mut this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        let Some(work) = this.first.as_mut().as_pin_mut() else {
            return First::Nothing;
        };
        let deadline = state
            .flight
            .as_ref()
            .map_or(Moment::NEVER, |flight| flight.timeout_at);
        state.running = Running::First;
        let polled = {
            let _scope = Scope::enter(deadline);
            work.poll(cx)
        };
        let Poll::Ready(result) = polled else {
            state.running = Running::Ours;
            return First::Nothing;
        };
        // Still the user's code: the future's drop, the classifier.
        this.first.set(None);
        let class = this.classify.classify(&result);
        state.running = Running::Ours;
        let Some(flight) = state.flight.take() else {
            return First::Nothing;
        };
        let now = state.now();
        let ended = (class.outcome(), class.effect());
        let record = state.land_inline(inner, flight, false, ended, now);
        match result {
            Ok(value) if class == Class::Success && this.rare.is_none() => {
                state.finish(inner, Stop::Succeeded, now);
                First::Success(value)
            }
            result => First::Other(result, class, record),
        }
    }

    /// Books an answer of the first attempt that something may follow.
    #[cold]
    fn first_ended(
        self: Pin<&mut Self>,
        result: Result<T, E>,
        class: Class,
        record: AttemptRecord,
    ) -> Option<Step<T, E>> {
        let this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        let now = state.ended;
        let last = (Last::Answer(result), class);
        book(inner, this.rare.get_or_insert_default(), record, last, now);
        arrive(inner, state, this.rare, now)
    }

    #[cold]
    fn poll_hedge(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Step<T, E>> {
        let mut this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        let rare = this.rare.as_mut()?;
        let hedge = rare.hedge.as_mut()?;
        let work = hedge.work.as_mut()?;
        state.running = Running::Hedge;
        let polled = {
            let _scope = Scope::enter(hedge.flight.timeout_at);
            work.as_mut().poll(cx)
        };
        let Poll::Ready(result) = polled else {
            state.running = Running::Ours;
            return None;
        };
        hedge.work = None;
        let class = this.classify.classify(&result);
        state.running = Running::Ours;
        let hedge = rare.hedge.take()?;
        let now = state.now();
        settle(inner, hedge.token, now);
        let ended = (class.outcome(), class.effect());
        let record = state.land(inner, hedge.flight, true, ended, now);
        rare.record(record, class != Class::Success);
        rare.learn(Last::Answer(result), class);
        let step = arrive(inner, state, this.rare, now);
        if step.is_some() {
            // The first has lost and is booked; now its future can go.
            this.first.set(None);
        }
        step
    }
}

impl<P: Deref<Target = Inner>, Op, Fut, C, T, E> fmt::Debug for Run<P, Op, Fut, C, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("pipeline", &self.inner.name)
            .field("phase", &self.state.phase)
            .finish_non_exhaustive()
    }
}
