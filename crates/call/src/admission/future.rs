use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use backstay_core::Moment;
use backstay_core::bulkhead::{Entry, Permit, Refusal, Ticket, Turn};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Shared, headers};
use crate::clock;
use crate::deadline::Scope;
use crate::event::{EventKind, HandlerEnd, Shed};
use crate::policy::Policy;
use crate::run::Timer;
use crate::turn::{poll_turn, wake};

pin_project! {
    /// A request on its way through an [`Admission`](super::Admission).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the handler and gives back the place in the queue or the permit.
    ///
    /// # Panics
    ///
    /// When polled after its end, and when it has to wait outside of a tokio runtime with time enabled.
    #[must_use = "a request is not handled unless awaited"]
    pub struct AdmissionFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        shared: Arc<Shared>,
        phase: Phase,
        arrived: Moment,
        began: Moment,
        deadline: Moment,
        ticket: Option<Ticket>,
        permit: Option<Permit>,
        // Left set by a handler that panics.
        in_handler: bool,
        // The service that said it is ready, and what it is to handle.
        work: Option<(S, Request<B>)>,
        #[pin]
        handler: Option<S::Future>,
        #[pin]
        timer: Timer,
    }

    impl<S, B> PinnedDrop for AdmissionFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        fn drop(this: Pin<&mut Self>) {
            this.abandon();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Arrived,
    Queued,
    Handling,
    Exempt,
    Done,
}

impl<S, B> AdmissionFuture<S, B>
where
    S: Service<Request<B>>,
{
    /// Its time counts from here: the caller's is running already.
    pub(super) fn new(shared: &Arc<Shared>, mut service: S, request: Request<B>) -> Self {
        let exempt = shared.exempt.as_ref();
        let mut this = Self {
            phase: Phase::Exempt,
            arrived: Moment::NEVER,
            began: Moment::NEVER,
            deadline: Moment::NEVER,
            ticket: None,
            permit: None,
            in_handler: false,
            work: None,
            handler: None,
            timer: Timer::new(),
            shared: Arc::clone(shared),
        };
        if exempt.is_some_and(|passes| passes(request.method(), request.uri())) {
            this.handler = Some(service.call(request));
            return this;
        }
        let now = clock::now();
        let headers = request.headers();
        shared.retries.on_arrival(headers::attempt(headers), now);
        let left =
            headers::time_left(headers).map_or(shared.deadline, |left| left.min(shared.deadline));
        this.phase = Phase::Arrived;
        this.arrived = now;
        this.deadline = now.plus(left);
        this.work = Some((service, request));
        this
    }

    /// Gives back what is held for a request whose caller has gone, or whose handler has panicked.
    fn abandon(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(ticket) = this.ticket.take() {
            wake(this.shared.gate.leave(ticket, clock::now()));
            let reason = Shed::CallerGone;
            this.shared.emit(EventKind::Shed { reason });
        }
        if *this.phase == Phase::Handling {
            let end = if *this.in_handler {
                HandlerEnd::Panicked
            } else {
                HandlerEnd::CallerGone
            };
            finish(this.shared, this.permit, *this.began, end);
        }
    }
}

impl<S, B, R> Future for AdmissionFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut refused = None;
        if self.phase == Phase::Arrived {
            refused = self.as_mut().enter(cx);
        }
        if self.phase == Phase::Queued {
            refused = ready!(self.as_mut().wait_for_turn(cx));
        }
        match refused {
            Some(reason) => Poll::Ready(Ok(self.refuse(reason))),
            None => self.handle(cx),
        }
    }
}

impl<S, B, R> AdmissionFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    /// Begins, or takes a place in the queue, or says why neither can be.
    fn enter(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Shed> {
        let this = self.as_mut().project();
        let shared = &**this.shared;
        let now = clock::now();
        let refused = if now >= *this.deadline {
            Some(Shed::Expired)
        } else {
            let entry = if shared.observe {
                shared
                    .gate
                    .try_enter(1, now)
                    .map_or_else(Entry::Refused, Entry::Admitted)
            } else {
                shared
                    .gate
                    .enter(1, now, *this.deadline, || cx.waker().clone())
            };
            match entry {
                Entry::Admitted(permit) => {
                    *this.permit = Some(permit);
                    None
                }
                Entry::Queued(ticket, made_room) => {
                    wake(made_room);
                    *this.ticket = Some(ticket);
                    *this.phase = Phase::Queued;
                    return None;
                }
                Entry::Refused(refusal) => Some(shed_by(refusal)),
            }
        };
        if refused.is_some() && !shared.observe {
            return refused;
        }
        if let Some(reason) = refused {
            let mut policy = Policy::Bulkhead;
            if reason == Shed::Expired {
                // Reported here, so not again by the timer.
                *this.deadline = Moment::NEVER;
                policy = Policy::Deadline;
            }
            shared.emit(EventKind::Observed { policy });
        }
        self.begin(now);
        None
    }

    fn wait_for_turn(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Shed>> {
        let this = self.as_mut().project();
        let gate = &this.shared.gate;
        let Some(ticket) = this.ticket.take() else {
            return Poll::Ready(Some(Shed::Overtaken));
        };
        let turn = poll_turn(gate, &ticket, cx);
        if let Turn::Waiting = turn {
            let until = ticket.wait_until();
            let Poll::Ready(now) = this.timer.poll_at(until, cx) else {
                *this.ticket = Some(ticket);
                return Poll::Pending;
            };
            wake(gate.leave(ticket, now));
            return Poll::Ready(Some(Shed::TooLate));
        }
        // A task that is polled late may find its turn and the end of its time at once.
        let now = clock::now();
        let late = now >= *this.deadline;
        match turn {
            Turn::Admitted(permit) if late => this.shared.release(permit, now),
            Turn::Admitted(permit) => {
                *this.permit = Some(permit);
                self.begin(now);
                return Poll::Ready(None);
            }
            Turn::Shed | Turn::Waiting => {}
        }
        let reason = if late { Shed::TooLate } else { Shed::Overtaken };
        Poll::Ready(Some(reason))
    }

    fn begin(self: Pin<&mut Self>, now: Moment) {
        let mut this = self.project();
        let waited = now.since(*this.arrived);
        this.shared.emit(EventKind::Admitted { waited });
        *this.phase = Phase::Handling;
        *this.began = now;
        if let Some((mut service, request)) = this.work.take() {
            let _scope = scope(this.shared, *this.deadline);
            *this.in_handler = true;
            this.handler.set(Some(service.call(request)));
            *this.in_handler = false;
        }
    }

    fn handle(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response<R>, S::Error>> {
        let mut this = self.project();
        let Some(handler) = this.handler.as_mut().as_pin_mut() else {
            panic!("a request was polled after its end");
        };
        *this.in_handler = true;
        let polled = {
            let _scope = scope(this.shared, *this.deadline);
            handler.poll(cx)
        };
        *this.in_handler = false;
        let (answer, end) = match polled {
            Poll::Ready(answer) => (answer, HandlerEnd::Answered),
            Poll::Pending => {
                ready!(this.timer.poll_at(*this.deadline, cx));
                if this.shared.observe {
                    *this.deadline = Moment::NEVER;
                    let policy = Policy::Deadline;
                    this.shared.emit(EventKind::Observed { policy });
                    return Poll::Pending;
                }
                (Ok(headers::timed_out()), HandlerEnd::TimedOut)
            }
        };
        // The permit is free once the work has stopped, and not before.
        this.handler.set(None);
        let phase = std::mem::replace(this.phase, Phase::Done);
        if phase == Phase::Handling {
            finish(this.shared, this.permit, *this.began, end);
        }
        Poll::Ready(answer)
    }

    fn refuse(self: Pin<&mut Self>, reason: Shed) -> Response<R> {
        let this = self.project();
        let shared = &**this.shared;
        *this.phase = Phase::Done;
        *this.work = None;
        shared.emit(EventKind::Shed { reason });
        if reason == Shed::Expired {
            return headers::expired();
        }
        let no_retry = shared.retries.dominated(clock::now());
        headers::overloaded(shared.gate.expected_wait(), no_retry)
    }
}

/// What the handler calls keeps to its deadline, unless the admission must change nothing.
fn scope(shared: &Shared, deadline: Moment) -> Scope {
    let bound = if shared.observe {
        Moment::NEVER
    } else {
        deadline
    };
    Scope::enter(bound)
}

fn finish(shared: &Shared, permit: &mut Option<Permit>, began: Moment, end: HandlerEnd) {
    let now = clock::now();
    if let Some(permit) = permit.take() {
        shared.release(permit, now);
    }
    let took = now.since(began);
    shared.emit(EventKind::Handled { end, took });
}

fn shed_by(refusal: Refusal) -> Shed {
    match refusal {
        Refusal::TooLate { .. } | Refusal::WaitedTooLong => Shed::TooLate,
        Refusal::Shed => Shed::Overtaken,
        _ => Shed::Full,
    }
}

impl<S, B> fmt::Debug for AdmissionFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmissionFuture")
            .field("phase", &self.phase)
            .field("arrived", &self.arrived)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
