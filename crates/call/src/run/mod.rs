//! The future of one call: it asks the policies in their order, makes the attempts and books their ends.
//!
//! A hand-written state machine: an async block could not say in `drop` what it was doing, and its type would
//! ask more of the user's closure than `Fn(Attempt) -> impl Future`.

mod flight;
mod head;
mod timer;

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use backstay_core::bulkhead::{Entry, Refusal, Turn};
use backstay_core::{Abandoned, Class, Effect, Fault, Moment, Outcome};
use pin_project_lite::pin_project;

use crate::attempt::{Attempt, Attempts};
use crate::classify::Classify;
use crate::clock;
use crate::deadline::Scope;
use crate::error::{CallError, Rejected, Stop};
use crate::event::EventKind;
use crate::inner::Inner;
use crate::key::Key;
use crate::policy::Policy;
use flight::{Flight, Slot, SlotProjection};
pub(crate) use head::Kind;
use head::{Head, Last, Next, Phase};
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
    /// caller. Polling after the end or after a panic panics, and so does waiting outside of a tokio runtime with time enabled.
    #[must_use = "a call does nothing unless awaited"]
    pub struct Run<P, Op, Fut, C, T, E>
    where
        P: Deref<Target = Inner>,
    {
        op: Op,
        classify: C,
        head: Head<P, T, E>,
        // Whose future is being polled, for `drop` to see after a panic.
        polling: Option<Place>,
        #[pin]
        first: Slot<Fut>,
        #[pin]
        second: Slot<Fut>,
        #[pin]
        timer: Timer,
    }

    impl<P, Op, Fut, C, T, E> PinnedDrop for Run<P, Op, Fut, C, T, E>
    where
        P: Deref<Target = Inner>,
    {
        fn drop(this: Pin<&mut Self>) {
            this.abandon();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Second,
}

impl<P: Deref<Target = Inner>, Op, Fut, C, T, E> Run<P, Op, Fut, C, T, E> {
    pub(crate) fn new(inner: P, op: Op, classify: C, kind: Kind, key: Option<Key>) -> Self {
        Self {
            op,
            classify,
            head: Head::new(inner, kind, key),
            polling: None,
            first: Slot::Empty,
            second: Slot::Empty,
            timer: Timer::new(),
        }
    }

    /// Gives this call at most `time` in all, counted from its first poll, if the pipeline gives it more.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.head.own_deadline = Some(time);
        self
    }

    pub(crate) fn take_attempts(self: Pin<&mut Self>) -> Attempts {
        std::mem::take(&mut self.project().head.attempts)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.head.inner
    }

    fn abandon(self: Pin<&mut Self>) {
        let mut this = self.project();
        let head = this.head;
        if matches!(head.phase, Phase::New | Phase::Done) {
            return;
        }
        let now = head.now();
        let gone = |flight: &Flight| {
            if now >= flight.timeout_at {
                Outcome::Abandoned(Abandoned::DeadlinePassed)
            } else {
                Outcome::Abandoned(Abandoned::CallerGone)
            }
        };
        if let Some(flight) = head.boarding.take() {
            head.land(flight, Outcome::Failure(Fault::Error), Effect::Unknown, now);
        }
        for (place, slot) in [
            (Place::First, &mut this.first),
            (Place::Second, &mut this.second),
        ] {
            let Some(flight) = take_flight(slot.as_mut()) else {
                continue;
            };
            let panicked = *this.polling == Some(place);
            let outcome = if panicked {
                Outcome::Failure(Fault::Error)
            } else {
                gone(&flight)
            };
            head.land(flight, outcome, Effect::Unknown, now);
        }
        if let Some(ticket) = head.ticket.take() {
            for waker in head.inner.gate.leave(ticket, now) {
                waker.wake();
            }
        }
        head.refund(now);
        if let Some(permit) = head.permit.take() {
            head.inner.release(permit, now);
        }
        head.phase = Phase::Done;
        let took = now.since(head.start);
        head.inner.emit(EventKind::CallDropped {
            attempts: head.launched,
            took,
        });
    }
}

impl<P, Op, Fut, C, T, E> Future for Run<P, Op, Fut, C, T, E>
where
    P: Deref<Target = Inner>,
    Op: Fn(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
{
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Only user code that panicked leaves these set. Going on would lose what the attempt holds.
        let sound = self.head.boarding.is_none() && self.polling.is_none();
        assert!(sound, "a call was polled after it had panicked");
        loop {
            let phase = self.as_mut().project().head.phase;
            let step = match phase {
                Phase::New => self.as_mut().enter(cx),
                Phase::Queued => self.as_mut().wait_for_turn(cx),
                Phase::Ready => self.as_mut().send_first(),
                Phase::Flying => self.as_mut().fly(cx),
                Phase::Pausing { until } => {
                    let this = self.as_mut().project();
                    match this.timer.poll_at(until, cx) {
                        Poll::Ready(_) => {
                            this.head.phase = Phase::Ready;
                            Step::Go
                        }
                        Poll::Pending => Step::Wait,
                    }
                }
                Phase::Done => panic!("a call was polled after it had ended"),
            };
            match step {
                Step::Go => {}
                Step::Wait => return Poll::Pending,
                Step::End(result) => return Poll::Ready(result),
            }
        }
    }
}

/// What one turn of the state machine came to.
enum Step<T, E> {
    Go,
    Wait,
    End(Result<T, CallError<E>>),
}

impl<P, Op, Fut, C, T, E> Run<P, Op, Fut, C, T, E>
where
    P: Deref<Target = Inner>,
    Op: Fn(Attempt) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
{
    /// Starts the time and asks for a place.
    fn enter(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step<T, E> {
        let this = self.project();
        let head = this.head;
        let begun = head.begin();
        head.phase = Phase::Ready;
        if let Err(rejected) = begun {
            let now = head.now();
            return Step::End(head.finish(Stop::Rejected, Some(rejected), now));
        }
        if !head.plan.on(Policy::Bulkhead) {
            return Step::Go;
        }
        let now = head.start;
        let inner = &*head.inner;
        let refusal = match inner
            .gate
            .enter(1, now, head.deadline, || cx.waker().clone())
        {
            Entry::Admitted(permit) => {
                head.permit = Some(permit);
                return Step::Go;
            }
            Entry::Queued(ticket, wakes) => {
                for waker in wakes {
                    waker.wake();
                }
                if !head.plan.observes(Policy::Bulkhead) {
                    head.ticket = Some(ticket);
                    head.phase = Phase::Queued;
                    inner.emit(EventKind::Queued);
                    return Step::Go;
                }
                for waker in inner.gate.leave(ticket, now) {
                    waker.wake();
                }
                Refusal::Full
            }
            Entry::Refused(refusal) => refusal,
        };
        if head.plan.observes(Policy::Bulkhead) {
            inner.emit(EventKind::Observed {
                policy: Policy::Bulkhead,
            });
            return Step::Go;
        }
        Step::End(refuse(head, refusal, now))
    }

    fn wait_for_turn(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step<T, E> {
        let this = self.project();
        let head = this.head;
        let Some(ticket) = &head.ticket else {
            head.phase = Phase::Ready;
            return Step::Go;
        };
        // Cloned before and dropped after the gate's lock: a waker is somebody else's code.
        let mut mine = cx.waker().clone();
        let turn = head.inner.gate.poll(ticket, |waker| {
            if !waker.will_wake(&mine) {
                std::mem::swap(waker, &mut mine);
            }
        });
        match turn {
            Turn::Admitted(permit) => {
                head.ticket = None;
                head.permit = Some(permit);
                head.phase = Phase::Ready;
                head.waited = clock::now().since(head.start);
                head.inner.emit(EventKind::Unqueued {
                    waited: head.waited,
                });
                Step::Go
            }
            Turn::Shed => {
                head.ticket = None;
                let now = head.now();
                Step::End(refuse(head, Refusal::Shed, now))
            }
            Turn::Waiting => {
                let Poll::Ready(now) = this.timer.poll_at(ticket.wait_until(), cx) else {
                    return Step::Wait;
                };
                if let Some(ticket) = head.ticket.take() {
                    for waker in head.inner.gate.leave(ticket, now) {
                        waker.wake();
                    }
                }
                Step::End(refuse(head, Refusal::WaitedTooLong, now))
            }
        }
    }

    /// Sends an attempt on which nothing else waits: the first, or a repeat.
    fn send_first(self: Pin<&mut Self>) -> Step<T, E> {
        let mut this = self.project();
        let head = this.head;
        let fresh = head.launched == 0 && head.waited.is_zero();
        let now = if fresh { head.start } else { clock::now() };
        match head.take_off(false, now) {
            Ok(attempt) => {
                board(head, this.op, this.first.as_mut(), attempt);
                head.phase = Phase::Flying;
                Step::Go
            }
            Err((stop, rejected)) => {
                let by = match stop {
                    Stop::Deadline => Policy::Deadline,
                    _ => Policy::Breaker,
                };
                Step::End(head.reject(by, stop, rejected, now))
            }
        }
    }

    /// Polls what is under way, and sees to what is due.
    fn fly(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step<T, E> {
        for place in [Place::First, Place::Second] {
            if let Some((result, now)) = self.as_mut().poll_place(place, cx) {
                if let Some(step) = self.as_mut().arrive(result, now) {
                    return step;
                }
            }
        }
        let this = self.as_mut().project();
        if this.first.is_empty() && this.second.is_empty() {
            return self.go_on_or_stop();
        }
        if this.first.is_empty() || !this.second.is_empty() {
            this.head.hedge_at = Moment::NEVER;
        }
        let due = this
            .first
            .due_at()
            .min(this.second.due_at())
            .min(this.head.hedge_at);
        match this.timer.poll_at(due, cx) {
            Poll::Pending => Step::Wait,
            Poll::Ready(now) => {
                self.see_to_due(now);
                Step::Go
            }
        }
    }

    /// The result of the attempt in `place`, booked, and when it came.
    fn poll_place(
        self: Pin<&mut Self>,
        place: Place,
        cx: &mut Context<'_>,
    ) -> Option<(Result<T, E>, Moment)> {
        let mut this = self.project();
        let mut slot = match place {
            Place::First => this.first.as_mut(),
            Place::Second => this.second.as_mut(),
        };
        let SlotProjection::Taken { work, flight } = slot.as_mut().project() else {
            return None;
        };
        let deadline = flight
            .as_ref()
            .map_or(Moment::NEVER, |flight| flight.timeout_at);
        *this.polling = Some(place);
        let polled = {
            let _scope = Scope::enter(deadline);
            work.poll(cx)
        };
        *this.polling = None;
        let head = this.head;
        let Poll::Ready(result) = polled else {
            head.know_start(flight.as_mut());
            return None;
        };
        // User code runs from here on: the future's drop, the classifier. After a panic in it `drop` books the
        // flight as a failure.
        head.boarding = flight.take();
        slot.set(Slot::Empty);
        let class = this.classify.classify(&result);
        let now = head.now();
        if let Some(flight) = head.boarding.take() {
            head.land(flight, class.outcome(), class.effect(), now);
        }
        head.learn(class);
        Some((result, now))
    }

    /// Ends the call if this result decides it.
    fn arrive(self: Pin<&mut Self>, result: Result<T, E>, now: Moment) -> Option<Step<T, E>> {
        let mut this = self.project();
        let head = this.head;
        head.last = Some(Last::Answer(result));
        let stop = match head.last_class {
            Class::Success => Stop::Succeeded,
            Class::Transient(_) | Class::Overloaded { .. } => return None,
            _ => Stop::Permanent,
        };
        for slot in [&mut this.first, &mut this.second] {
            if let Some(flight) = take_flight(slot.as_mut()) {
                head.land(
                    flight,
                    Outcome::Abandoned(Abandoned::LostRace),
                    Effect::Unknown,
                    now,
                );
                // Now, and not with the call: its caller may keep that for a while.
                slot.set(Slot::Empty);
            }
        }
        Some(Step::End(head.finish(stop, None, now)))
    }

    fn go_on_or_stop(self: Pin<&mut Self>) -> Step<T, E> {
        let head = self.project().head;
        let now = clock::now();
        match head.after_failure(now) {
            Next::Stop(stop) => return Step::End(head.finish(stop, None, now)),
            Next::Now => head.phase = Phase::Ready,
            Next::Pause(until) => head.phase = Phase::Pausing { until },
        }
        Step::Go
    }

    /// Gives up what has run out of time, notes what has become slow, sends a hedge.
    fn see_to_due(self: Pin<&mut Self>, now: Moment) {
        let mut this = self.project();
        let head = this.head;
        for slot in [&mut this.first, &mut this.second] {
            let SlotProjection::Taken {
                flight: Some(flight),
                ..
            } = slot.as_mut().project()
            else {
                continue;
            };
            if now >= flight.timeout_at {
                if let Some(flight) = take_flight(slot.as_mut()) {
                    let passed = Outcome::Abandoned(Abandoned::DeadlinePassed);
                    head.land(flight, passed, Effect::Unknown, now);
                    head.last = Some(Last::TimedOut);
                    head.last_class = Class::Transient(Effect::Unknown);
                    slot.set(Slot::Empty);
                }
            } else if now >= flight.slow_at {
                flight.slow_at = Moment::NEVER;
                if let Some(admission) = &mut flight.admission {
                    let inner = &*head.inner;
                    inner.circuit.on_slow(admission, now, |transition| {
                        inner.emit(EventKind::Breaker(transition));
                    });
                }
            }
        }
        let due = now >= head.hedge_at && !this.first.is_empty() && this.second.is_empty();
        if due {
            head.hedge_at = Moment::NEVER;
            if head.pay_for_hedge(now) {
                match head.take_off(true, now) {
                    Ok(attempt) => board(head, this.op, this.second.as_mut(), attempt),
                    Err((stop, _)) => {
                        let by = if stop == Stop::Deadline {
                            Policy::Deadline
                        } else {
                            Policy::Breaker
                        };
                        head.inner.emit(EventKind::HedgeSuppressed { by });
                    }
                }
            }
        }
    }
}

/// Calls the user's closure and puts its future into the slot.
fn board<P, Op, Fut, T, E>(
    head: &mut Head<P, T, E>,
    op: &Op,
    mut slot: Pin<&mut Slot<Fut>>,
    attempt: Attempt,
) where
    Op: Fn(Attempt) -> Fut,
{
    let work = {
        let _scope = Scope::enter(attempt.deadline);
        op(attempt)
    };
    slot.set(Slot::Taken {
        work,
        flight: head.boarding.take(),
    });
}

fn take_flight<Fut>(slot: Pin<&mut Slot<Fut>>) -> Option<Flight> {
    match slot.project() {
        SlotProjection::Taken { flight, .. } => flight.take(),
        SlotProjection::Empty => None,
    }
}

fn refuse<P: Deref<Target = Inner>, T, E>(
    head: &mut Head<P, T, E>,
    refusal: Refusal,
    now: Moment,
) -> Result<T, CallError<E>> {
    let retry_after = match refusal {
        Refusal::TooHeavy { .. } => None,
        _ => Some(head.inner.gate.expected_wait()),
    };
    let rejected = Rejected::Bulkhead {
        refusal,
        retry_after,
    };
    head.reject(Policy::Bulkhead, Stop::Rejected, rejected, now)
}

impl<P: Deref<Target = Inner>, Op, Fut, C, T, E> fmt::Debug for Run<P, Op, Fut, C, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("pipeline", &self.inner().name)
            .field("phase", &self.head.phase)
            .finish_non_exhaustive()
    }
}
