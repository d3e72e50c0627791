use backstay_core::breaker::{Admission, Rejection};
use backstay_core::budget::{Extra, Token};
use backstay_core::bulkhead::Permit;
use backstay_core::{Abandoned, Class, Effect, Moment, Outcome};

use super::flight::Flight;
use crate::attempt::{Attempt, AttemptRecord};
use crate::clock;
use crate::deadline;
use crate::error::{Rejected, Stop};
use crate::event::EventKind;
use crate::inner::Inner;
use crate::key::Key;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::settings::first_share;

/// What a repeat may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: only what certainly had no effect is repeated.
    Plain,
    /// Doing it twice is the same as doing it once.
    Idempotent,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    New,
    Queued,
    /// The next attempt is to be sent.
    Ready,
    Flying,
    Pausing,
    Done,
}

/// Whose code runs now, for `drop` to see after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    Ours,
    First,
    Hedge,
}

/// The state that every call needs. Small, because it is moved together with its call.
///
/// In this order, what always has a value before what may have none: so a new call is written as constants and moved
/// as a whole. In the compiler's own order the moves read across what was just written, which stalls the processor
/// for as long as all the rest of a call takes.
#[derive(Debug)]
#[repr(C)]
pub(super) struct State {
    pub(super) plan: Plan,
    /// Nanoseconds that the user gives this call; `u64::MAX` for no limit.
    pub(super) own_deadline: u64,
    /// `UNREAD` while nobody had to know it.
    pub(super) start: Moment,
    pub(super) deadline: Moment,
    /// When a second attempt is due.
    pub(super) hedge_at: Moment,
    /// When the last attempt ended.
    pub(super) ended: Moment,
    /// At most as many as `Retry::max_attempts` allows.
    pub(super) launched: u8,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) running: Running,
    /// Permits of the bulkhead that the call takes.
    pub(super) weight: u32,
    pub(super) key: Option<Key>,
    pub(super) permit: Option<Permit>,
    pub(super) flight: Option<Flight>,
}

/// No time was read yet. A call that needs none at its start reads it when it waits or ends.
///
/// The end of time, so that everything counted from it is never due and has taken no time.
pub(super) const UNREAD: Moment = Moment::NEVER;

impl State {
    #[inline]
    pub(super) const fn new(kind: Kind, key: Option<Key>) -> Self {
        Self {
            plan: Plan::NONE,
            key,
            own_deadline: u64::MAX,
            start: UNREAD,
            deadline: Moment::NEVER,
            hedge_at: Moment::NEVER,
            ended: UNREAD,
            permit: None,
            flight: None,
            launched: 0,
            kind,
            phase: Phase::New,
            running: Running::Ours,
            weight: 1,
        }
    }

    /// The number of the last attempt that was sent; 0 before the first.
    pub(super) fn number(&self) -> u32 {
        u32::from(self.launched)
    }

    /// Fixes the plan and the deadline of the call.
    #[inline]
    pub(super) fn begin(&mut self, inner: &Inner) {
        self.plan = inner.plan.get();
        let around = deadline::current();
        if self.plan.needs_start()
            || around != Moment::NEVER
            || self.own_deadline != u64::MAX
            || !inner.listeners.is_empty()
            || !inner.circuit.is_closed()
        {
            self.start = clock::now();
        }
        self.deadline = around.min(self.start.plus_nanos(self.own_deadline));
        if self.plan.acts(Policy::Deadline) {
            self.deadline = self
                .deadline
                .min(self.start.plus_nanos(inner.plan.deadline()));
        }
    }

    /// The clock, and with it the start of a call that began without reading it.
    #[inline]
    pub(super) fn now(&mut self) -> Moment {
        let now = clock::now();
        if self.start == UNREAD {
            self.start_is(now);
        }
        now
    }

    /// Reads the start late if it was not read: the call has to wait.
    pub(super) fn know_start(&mut self) {
        if self.start == UNREAD {
            self.start_is(clock::now());
        }
    }

    /// The start, as far as anybody can tell: when the call first had to wait.
    #[cold]
    fn start_is(&mut self, now: Moment) {
        self.start = now;
        if let Some(flight) = &mut self.flight {
            flight.began(now);
        }
    }

    /// Gets an attempt under way as far as it is ours, or says why not.
    #[expect(
        clippy::inline_always,
        reason = "returned through memory, the answer costs more than it takes to find"
    )]
    #[inline(always)]
    pub(super) fn take_off(
        &mut self,
        inner: &Inner,
        hedge: bool,
        mut now: Moment,
    ) -> Result<Flight, (Stop, Rejected)> {
        if self.deadline != Moment::NEVER && self.too_late(now) {
            return Err((Stop::Deadline, Rejected::DeadlinePassed));
        }
        let mut admission = None;
        if self.plan.on(Policy::Breaker) {
            admission = inner.circuit.admit_closed(now);
            if admission.is_none() {
                if now == UNREAD {
                    now = self.now();
                }
                admission = self.ask_for_probe(inner, now)?;
            }
        }
        // What is refused adds no load, so it earns no extra load either.
        if self.launched == 0 && self.plan.on(Policy::Budget) {
            inner.budget.ledger().on_call(now);
        }
        self.launched += 1;
        let timeout_at = self.timeout_at(inner, hedge, now);
        if self.plan.on(Policy::Hedge) {
            self.hedge_at = if hedge {
                Moment::NEVER
            } else {
                self.when_to_hedge(inner, timeout_at, now)
            };
        }
        inner.emit(EventKind::AttemptStarted {
            number: self.number(),
            hedge,
        });
        Ok(Flight {
            number: self.number(),
            start: now,
            timeout_at,
            admission,
        })
    }

    #[cold]
    fn ask_for_probe(
        &self,
        inner: &Inner,
        now: Moment,
    ) -> Result<Option<Admission>, (Stop, Rejected)> {
        match inner
            .circuit
            .admit(now, |change| inner.emit(EventKind::Breaker(change)))
        {
            Ok(admission) => Ok(Some(admission)),
            Err(rejection) if self.plan.observes(Policy::Breaker) || rejection.observed() => {
                inner.emit(EventKind::Observed {
                    policy: Policy::Breaker,
                });
                Ok(None)
            }
            Err(Rejection {
                phase, retry_after, ..
            }) => Err((Stop::Rejected, Rejected::BreakerOpen { phase, retry_after })),
        }
    }

    pub(super) fn attempt(&self, flight: &Flight) -> Attempt {
        Attempt {
            number: flight.number,
            deadline: flight.timeout_at,
            key: self.key.clone(),
        }
    }

    #[inline]
    pub(super) fn too_late(&self, now: Moment) -> bool {
        let left = self.deadline.since(now);
        left.is_zero() || left < self.plan.min_time()
    }

    #[inline]
    fn timeout_at(&self, inner: &Inner, hedge: bool, now: Moment) -> Moment {
        if !self.plan.acts(Policy::AttemptTimeout) {
            return self.deadline;
        }
        let timeout = inner.plan.attempt_timeout();
        let another_may_follow = self.kind == Kind::Idempotent
            && self.plan.acts(Policy::Retry)
            && self.number() < self.plan.max_attempts()
            && !hedge;
        if timeout == u64::MAX && another_may_follow && self.deadline != Moment::NEVER {
            return now.plus(first_share(self.deadline.since(now)));
        }
        now.plus_nanos(timeout).min(self.deadline)
    }

    fn when_to_hedge(&self, inner: &Inner, timeout_at: Moment, now: Moment) -> Moment {
        if self.kind == Kind::Plain || self.number() >= self.plan.max_attempts() {
            return Moment::NEVER;
        }
        let delay = inner.hedge.delay(timeout_at.since(now), now);
        delay.map_or(Moment::NEVER, |delay| now.plus(delay))
    }

    /// Books the end of an attempt with the policies and the listeners.
    pub(super) fn land(
        &mut self,
        inner: &Inner,
        flight: Flight,
        hedge: bool,
        ended: (Outcome, Effect),
        now: Moment,
    ) -> AttemptRecord {
        self.land_inline(inner, flight, hedge, ended, now)
    }

    /// As `land`, where the record is rarely wanted.
    #[expect(
        clippy::inline_always,
        reason = "a record that nobody reads is then never made"
    )]
    #[inline(always)]
    pub(super) fn land_inline(
        &mut self,
        inner: &Inner,
        flight: Flight,
        hedge: bool,
        (outcome, effect): (Outcome, Effect),
        now: Moment,
    ) -> AttemptRecord {
        if let Some(admission) = flight.admission {
            inner.circuit.end(admission, outcome, now, |transition| {
                inner.emit(EventKind::Breaker(transition));
            });
        }
        self.ended = now;
        let start = if flight.start == UNREAD {
            now
        } else {
            flight.start
        };
        if self.plan.on(Policy::Hedge) && tells_latency(outcome) {
            inner.hedge.on_latency(now.since(start), now);
        }
        if self.plan.observes(Policy::AttemptTimeout)
            && now.nanos_since(start) > inner.plan.attempt_timeout()
        {
            inner.emit(EventKind::Observed {
                policy: Policy::AttemptTimeout,
            });
        }
        let number = flight.number;
        if !inner.listeners.is_empty() {
            inner.emit(EventKind::AttemptEnded {
                number,
                hedge,
                outcome,
                effect,
                took: now.since(start),
            });
        }
        AttemptRecord {
            number,
            started_after: start.since(self.start),
            took: now.since(start),
            waited: std::time::Duration::ZERO,
            outcome,
            effect,
            hedge,
        }
    }

    /// Gives back what the call holds and tells that it has ended.
    #[inline]
    pub(super) fn finish(&mut self, inner: &Inner, stop: Stop, now: Moment) {
        self.phase = Phase::Done;
        if let Some(permit) = self.permit.take() {
            inner.release(permit, now);
        }
        if self.plan.observes_any() || !inner.listeners.is_empty() {
            self.tell_end(inner, stop, now);
        }
    }

    #[cold]
    fn tell_end(&self, inner: &Inner, stop: Stop, now: Moment) {
        let took = now.since(self.start);
        if self.plan.observes(Policy::Deadline)
            && now.nanos_since(self.start) > inner.plan.deadline()
        {
            inner.emit(EventKind::Observed {
                policy: Policy::Deadline,
            });
        }
        let (succeeded, attempts) = (stop == Stop::Succeeded, self.number());
        inner.emit(EventKind::CallEnded {
            stop,
            succeeded,
            attempts,
            took,
        });
    }

    /// The ledger's answer to an extra attempt: a token, leave to go without one, or no.
    pub(super) fn pay(
        &self,
        inner: &Inner,
        extra: Extra,
        now: Moment,
    ) -> Result<Option<Token>, Unpaid> {
        if !self.plan.on(Policy::Budget) {
            return Ok(None);
        }
        let token = inner.budget.ledger().draw(extra, now);
        if token.is_none() && self.plan.acts(Policy::Budget) {
            return Err(Unpaid);
        }
        if token.is_none() {
            inner.emit(EventKind::Observed {
                policy: Policy::Budget,
            });
        }
        Ok(token)
    }
}

/// The budget is used up.
pub(super) struct Unpaid;

/// An attempt that failed fast says nothing about how long an answer takes.
fn tells_latency(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Success | Outcome::Abandoned(Abandoned::DeadlinePassed | Abandoned::LostRace)
    )
}

/// Whether a failure of this class may pass if the operation is tried again.
pub(super) fn may_pass(class: Class) -> bool {
    matches!(class, Class::Transient(_) | Class::Overloaded { .. })
}
