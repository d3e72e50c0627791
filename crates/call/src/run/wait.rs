//! A call that can't go on at once: in the queue, in flight, between two attempts.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use backstay_core::bulkhead::{Refusal, Turn};
use backstay_core::{Abandoned, Class, Effect, Moment, Outcome};

use super::decide::{Next, after_failure, book, conclude, refuse, send_hedge, settle};
use super::flight::{Flight, Last};
use super::state::Phase;
use super::{Run, Step};
use crate::classify::Classify;
use crate::event::EventKind;
use crate::inner::Inner;
use crate::operation::Operation;
use crate::turn::{poll_turn, wake};

impl<P, Op, Fut, C, T, E> Run<P, Op, Fut, C, T, E>
where
    P: Deref<Target = Inner>,
    Op: Operation<Future = Fut>,
    Fut: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
{
    #[cold]
    pub(super) fn wait_for_turn(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step<T, E> {
        let this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        let rare = this.rare.get_or_insert_default();
        let Some(ticket) = &rare.ticket else {
            state.phase = Phase::Ready;
            return Step::Go;
        };
        let refusal = match poll_turn(&inner.gate, ticket, cx) {
            Turn::Admitted(permit) => {
                rare.ticket = None;
                state.permit = Some(permit);
                state.phase = Phase::Ready;
                rare.waited = state.now().since(state.start);
                inner.emit(EventKind::Unqueued {
                    waited: rare.waited,
                });
                return Step::Go;
            }
            Turn::Shed => {
                let late = state.now() >= ticket.wait_until();
                rare.ticket = None;
                if late {
                    Refusal::WaitedTooLong
                } else {
                    Refusal::Shed
                }
            }
            Turn::Waiting => {
                let Poll::Ready(now) = this.timer.poll_at(ticket.wait_until(), cx) else {
                    return Step::Wait;
                };
                if let Some(ticket) = rare.ticket.take() {
                    wake(inner.gate.leave(ticket, now));
                }
                Refusal::WaitedTooLong
            }
        };
        Step::End(refuse(inner, state, this.rare, refusal))
    }

    /// Nothing has come: waits for what is due next, or goes on if nothing is under way.
    pub(super) fn wait_in_flight(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step<T, E> {
        let this = self.as_mut().project();
        let (inner, state) = (&**this.inner, this.state);
        state.know_start();
        let mut due = Moment::NEVER;
        let mut under_way = false;
        let hedged = this.rare.as_ref().and_then(|rare| rare.hedge.as_ref());
        for flight in state.flight.iter().chain(hedged.map(|hedge| &hedge.flight)) {
            under_way = true;
            due = due.min(flight.timeout_at).min(slow_at(inner, flight));
        }
        if !under_way {
            return self.go_on_or_stop();
        }
        if state.flight.is_none() || hedged.is_some() {
            state.hedge_at = Moment::NEVER;
        }
        match this.timer.poll_at(due.min(state.hedge_at), cx) {
            Poll::Pending => Step::Wait,
            Poll::Ready(now) => {
                self.see_to_due(now);
                Step::Go
            }
        }
    }

    #[cold]
    fn go_on_or_stop(self: Pin<&mut Self>) -> Step<T, E> {
        let this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        let now = state.now();
        let next = after_failure(inner, state, this.rare.get_or_insert_default(), now);
        match next {
            Next::Stop(stop) => {
                return Step::End(conclude(inner, state, this.rare, stop, None, now));
            }
            Next::Now => state.phase = Phase::Ready,
            Next::Pause => state.phase = Phase::Pausing,
        }
        Step::Go
    }

    #[cold]
    pub(super) fn pause(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Step<T, E> {
        let this = self.project();
        let until = this.rare.as_ref().map_or(Moment::NEVER, |rare| rare.until);
        if this.timer.poll_at(until, cx).is_pending() {
            return Step::Wait;
        }
        this.state.phase = Phase::Ready;
        Step::Go
    }

    /// Gives up what has run out of time, notes what has become slow, sends a hedge.
    #[cold]
    fn see_to_due(self: Pin<&mut Self>, now: Moment) {
        let mut this = self.project();
        let (inner, state) = (&**this.inner, this.state);
        let passed = (
            Outcome::Abandoned(Abandoned::DeadlinePassed),
            Effect::Unknown,
        );
        if let Some(flight) = &mut state.flight {
            note_slow(inner, flight, now);
        }
        if let Some(flight) = state.flight.take_if(|flight| now >= flight.timeout_at) {
            let record = state.land(inner, flight, false, passed, now);
            let last = (Last::TimedOut, Class::Transient(Effect::Unknown));
            book(inner, this.rare.get_or_insert_default(), record, last, now);
            this.first.set(None);
        }
        if let Some(rare) = this.rare.as_mut() {
            if let Some(hedge) = &mut rare.hedge {
                note_slow(inner, &mut hedge.flight, now);
            }
            if let Some(hedge) = rare.hedge.take_if(|hedge| now >= hedge.flight.timeout_at) {
                let record = state.land(inner, hedge.flight, true, passed, now);
                settle(inner, hedge.token, now);
                rare.record(record, true);
                rare.learn(Last::TimedOut, Class::Transient(Effect::Unknown));
                drop(hedge.work);
            }
        }
        if now >= state.hedge_at && state.flight.is_some() {
            state.hedge_at = Moment::NEVER;
            send_hedge(
                inner,
                state,
                this.rare.get_or_insert_default(),
                this.op,
                now,
            );
        }
    }
}

fn slow_at(inner: &Inner, flight: &Flight) -> Moment {
    let admission = flight.admission.as_ref();
    admission
        .and_then(|admission| inner.circuit.slow_at(admission))
        .unwrap_or(Moment::NEVER)
}

fn note_slow(inner: &Inner, flight: &mut Flight, now: Moment) {
    if now >= slow_at(inner, flight)
        && let Some(admission) = &mut flight.admission
    {
        inner.circuit.on_slow(admission, now, |change| {
            inner.emit(EventKind::Breaker(change));
        });
    }
}
