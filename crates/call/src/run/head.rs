use std::ops::Deref;
use std::time::Duration;

use backstay_core::budget::{Extra, Token};
use backstay_core::bulkhead::{Permit, Ticket};
use backstay_core::{Abandoned, Class, Effect, Moment, Outcome, Pushback};

use super::flight::Flight;
use crate::attempt::{Attempt, AttemptRecord, Attempts};
use crate::clock;
use crate::deadline;
use crate::error::{CallError, Reason, Rejected, Stop};
use crate::event::EventKind;
use crate::inner::Inner;
use crate::key::Key;
use crate::plan::{Plan, nanos};
use crate::policy::Policy;
use crate::settings::moment_after;

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
    Pausing {
        until: Moment,
    },
    Done,
}

/// The state of a call without its futures: what it holds and what it decides.
pub(super) struct Head<P, T, E> {
    pub(super) inner: P,
    pub(super) kind: Kind,
    pub(super) key: Option<Key>,
    pub(super) own_deadline: Option<Duration>,
    pub(super) plan: Plan,
    pub(super) phase: Phase,
    pub(super) start: Moment,
    pub(super) deadline: Moment,
    pub(super) permit: Option<Permit>,
    pub(super) ticket: Option<Ticket>,
    pub(super) launched: u32,
    /// How long the attempt to come has waited.
    pub(super) waited: Duration,
    pub(super) backoff: Duration,
    /// Pays for the attempt to come.
    pub(super) token: Option<Token>,
    pub(super) hedge_at: Moment,
    /// The flight of an attempt whose user code runs outside of its slot.
    pub(super) boarding: Option<Flight>,
    pub(super) attempts: Attempts,
    pub(super) effect: Effect,
    pub(super) last: Option<Last<T, E>>,
    pub(super) last_class: Class,
    /// The strictest word of the attempts since the last pause.
    pub(super) pushback: Pushback,
}

/// How the last attempt ended.
#[derive(Debug)]
pub(super) enum Last<T, E> {
    Answer(Result<T, E>),
    TimedOut,
}

/// What follows a failure.
pub(super) enum Next {
    Stop(Stop),
    Now,
    Pause(Moment),
}

/// A call without a deadline waits no longer than this for a dependency that asks it to: as long as any backoff.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// No time was read yet. Calls that need none at their start read it when they wait or end.
const UNREAD: Moment = Moment::from_nanos(0);

impl<P: Deref<Target = Inner>, T, E> Head<P, T, E> {
    pub(super) fn new(inner: P, kind: Kind, key: Option<Key>) -> Self {
        let plan = inner.plan.get();
        Self {
            inner,
            kind,
            key,
            own_deadline: None,
            plan,
            phase: Phase::New,
            start: UNREAD,
            deadline: Moment::NEVER,
            permit: None,
            ticket: None,
            launched: 0,
            waited: Duration::ZERO,
            backoff: Duration::ZERO,
            token: None,
            hedge_at: Moment::NEVER,
            boarding: None,
            attempts: Attempts::default(),
            effect: Effect::NotExecuted,
            last: None,
            last_class: Class::Success,
            pushback: Pushback::Unstated,
        }
    }

    /// Starts the call's time; refuses a key that can't travel.
    pub(super) fn begin(&mut self) -> Result<(), Rejected> {
        self.plan = self.inner.plan.get();
        let around = deadline::current();
        let needs_time = self.plan.needs_time
            || around != Moment::NEVER
            || self.own_deadline.is_some()
            || !self.inner.listeners.is_empty()
            || !self.inner.circuit.is_closed();
        if needs_time {
            self.start = clock::now();
        }
        let mut deadline = around;
        if let Some(own) = self.own_deadline {
            deadline = deadline.min(self.start.plus(own));
        }
        if self.plan.acts(Policy::Deadline) {
            deadline = deadline.min(self.start.plus(Duration::from_nanos(self.plan.deadline)));
        }
        self.deadline = deadline;
        match &self.key {
            Some(key) => key.check().map_err(Rejected::Key),
            None => Ok(()),
        }
    }

    /// The clock, and with it the start of a call that began without reading it.
    pub(super) fn now(&mut self) -> Moment {
        let now = clock::now();
        if self.start == UNREAD {
            self.start = now;
        }
        now
    }

    /// Whether a call that is about to wait knows since when.
    pub(super) fn know_start(&mut self, flight: Option<&mut Flight>) {
        if self.start == UNREAD {
            let now = self.now();
            if let Some(flight) = flight {
                flight.begin(now);
            }
        }
    }

    /// Gets an attempt under way, or says why not.
    pub(super) fn take_off(
        &mut self,
        hedge: bool,
        now: Moment,
    ) -> Result<Attempt, (Stop, Rejected)> {
        if self.deadline != Moment::NEVER && self.too_late(now) {
            self.refund(now);
            return Err((Stop::Deadline, Rejected::DeadlinePassed));
        }
        let mut admission = None;
        if self.plan.on(Policy::Breaker) {
            let inner = &*self.inner;
            match inner
                .circuit
                .admit(now, |transition| inner.emit(EventKind::Breaker(transition)))
            {
                Ok(admitted) => admission = Some(admitted),
                Err(rejection) if self.plan.observes(Policy::Breaker) || rejection.observed() => {
                    inner.emit(EventKind::Observed {
                        policy: Policy::Breaker,
                    });
                }
                Err(rejection) => {
                    self.refund(now);
                    let rejected = Rejected::BreakerOpen {
                        phase: rejection.phase,
                        retry_after: rejection.retry_after,
                    };
                    return Err((Stop::Rejected, rejected));
                }
            }
        }
        let slow_at = admission
            .as_ref()
            .and_then(|admission| self.inner.circuit.slow_at(admission));
        // What is refused adds no load, so it earns no extra load either.
        if self.launched == 0 && self.plan.on(Policy::Budget) {
            self.inner.budget.ledger().on_call(now);
        }
        self.launched += 1;
        let timeout_at = self.timeout_at(hedge, now);
        self.hedge_at = if hedge {
            Moment::NEVER
        } else {
            self.when_to_hedge(timeout_at, now)
        };
        self.inner.emit(EventKind::AttemptStarted {
            number: self.launched,
            hedge,
        });
        self.boarding = Some(Flight {
            number: self.launched,
            hedge,
            start: now,
            waited: std::mem::take(&mut self.waited),
            timeout_at,
            slow_at: slow_at.unwrap_or(Moment::NEVER),
            admission,
            token: self.token.take(),
        });
        Ok(Attempt {
            number: self.launched,
            deadline: timeout_at,
            key: self.key.clone(),
        })
    }

    fn too_late(&self, now: Moment) -> bool {
        let left = self.deadline.since(now);
        left.is_zero() || left < self.plan.min_time
    }

    fn timeout_at(&self, hedge: bool, now: Moment) -> Moment {
        if !self.plan.acts(Policy::AttemptTimeout) {
            return self.deadline;
        }
        let another_may_follow = self.kind == Kind::Idempotent
            && self.plan.acts(Policy::Retry)
            && self.launched < self.plan.max_attempts
            && !hedge;
        if self.plan.attempt_timeout == u64::MAX
            && another_may_follow
            && self.deadline != Moment::NEVER
        {
            return now.plus(self.deadline.since(now) / 2);
        }
        moment_after(now, self.plan.attempt_timeout).min(self.deadline)
    }

    fn when_to_hedge(&self, timeout_at: Moment, now: Moment) -> Moment {
        let may = self.plan.on(Policy::Hedge)
            && self.kind == Kind::Idempotent
            && self.launched < self.plan.max_attempts;
        if !may {
            return Moment::NEVER;
        }
        let delay = self.inner.hedge.delay(timeout_at.since(now), now);
        delay.map_or(Moment::NEVER, |delay| now.plus(delay))
    }

    /// Notes what a result means for the attempts to come.
    pub(super) fn learn(&mut self, class: Class) {
        self.last_class = class;
        if let Class::Overloaded { pushback, .. } = class {
            self.pushback = match (self.pushback, pushback) {
                (Pushback::Never, _) | (_, Pushback::Never) => Pushback::Never,
                (Pushback::After(one), Pushback::After(other)) => Pushback::After(one.max(other)),
                (Pushback::Unstated, said) | (said, Pushback::Unstated) => said,
            };
        }
    }

    /// Books the end of an attempt, whatever it was.
    pub(super) fn land(
        &mut self,
        mut flight: Flight,
        outcome: Outcome,
        effect: Effect,
        now: Moment,
    ) {
        if flight.start == UNREAD {
            flight.begin(now);
        }
        let inner = &*self.inner;
        if let Some(admission) = flight.admission {
            inner.circuit.end(admission, outcome, now, |transition| {
                inner.emit(EventKind::Breaker(transition));
            });
        }
        if let Some(token) = flight.token {
            inner.budget.ledger().settle(token, now);
        }
        let took = now.since(flight.start);
        // An attempt that failed fast says nothing about how long an answer takes.
        let timed = matches!(
            outcome,
            Outcome::Success | Outcome::Abandoned(Abandoned::DeadlinePassed | Abandoned::LostRace)
        );
        if timed && self.plan.on(Policy::Hedge) {
            inner.hedge.on_latency(took, now);
        }
        if self.plan.observes(Policy::AttemptTimeout) && nanos(took) > self.plan.attempt_timeout {
            inner.emit(EventKind::Observed {
                policy: Policy::AttemptTimeout,
            });
        }
        let (number, hedge) = (flight.number, flight.hedge);
        inner.emit(EventKind::AttemptEnded {
            number,
            hedge,
            outcome,
            effect,
            took,
        });
        if outcome != Outcome::Success {
            self.effect = self.effect.max(effect);
        }
        self.attempts.push(AttemptRecord {
            number,
            started_after: flight.start.since(self.start),
            took,
            waited: flight.waited,
            outcome,
            effect,
            hedge,
        });
    }

    /// What to do now that no attempt is under way and the last one failed.
    pub(super) fn after_failure(&mut self, now: Moment) -> Next {
        let pushback = std::mem::take(&mut self.pushback);
        if !matches!(
            self.last_class,
            Class::Transient(_) | Class::Overloaded { .. }
        ) {
            return Next::Stop(Stop::Permanent);
        }
        let timed = self.deadline != Moment::NEVER;
        if timed && self.too_late(now) {
            return Next::Stop(Stop::Deadline);
        }
        if pushback == Pushback::Never {
            return Next::Stop(Stop::Pushback);
        }
        if self.kind == Kind::Plain && self.last_class.effect() != Effect::NotExecuted {
            return Next::Stop(Stop::Effect);
        }
        if self.launched >= self.plan.max_attempts {
            return Next::Stop(Stop::Attempts);
        }
        let hedge_was_due = std::mem::replace(&mut self.hedge_at, Moment::NEVER) != Moment::NEVER;
        if hedge_was_due && pushback == Pushback::Unstated && self.pay_for_hedge(now) {
            self.waited = Duration::ZERO;
            return Next::Now;
        }
        if !self.plan.acts(Policy::Retry) {
            if self.plan.observes(Policy::Retry) {
                self.inner.emit(EventKind::Observed {
                    policy: Policy::Retry,
                });
            }
            return Next::Stop(Stop::Attempts);
        }
        self.pause(pushback, timed, now)
    }

    fn pause(&mut self, pushback: Pushback, timed: bool, now: Moment) -> Next {
        let most = if timed {
            self.deadline.since(now).saturating_sub(self.plan.min_time)
        } else {
            LONGEST_PAUSE
        };
        let settings = self.inner.settings.load();
        let waits = settings.retry.waits();
        let mut wait = waits.delay(self.launched, self.backoff, fastrand::u64(..));
        self.backoff = wait;
        drop(settings);
        if let Pushback::After(asked) = pushback {
            if asked > most {
                return Next::Stop(Stop::Pushback);
            }
            // Spread those who were all told the same.
            wait = asked.saturating_add(wait).min(most);
        } else if wait > most {
            return Next::Stop(Stop::Deadline);
        }
        if !self.pay(Extra::Retry, now) {
            return Next::Stop(Stop::Budget);
        }
        self.waited = wait;
        self.inner.emit(EventKind::RetryScheduled {
            number: self.launched + 1,
            wait,
        });
        Next::Pause(now.plus(wait))
    }

    /// Pays for a second attempt beside or right after the first; says so if it can't.
    pub(super) fn pay_for_hedge(&mut self, now: Moment) -> bool {
        if self.plan.observes(Policy::Hedge) {
            self.inner.emit(EventKind::Observed {
                policy: Policy::Hedge,
            });
            return false;
        }
        let paid = self.pay(Extra::Hedge, now);
        if !paid {
            self.inner
                .emit(EventKind::HedgeSuppressed { by: Policy::Budget });
        }
        paid
    }

    fn pay(&mut self, extra: Extra, now: Moment) -> bool {
        if !self.plan.on(Policy::Budget) {
            return true;
        }
        self.token = self.inner.budget.ledger().draw(extra, now);
        if self.token.is_none() && self.plan.observes(Policy::Budget) {
            self.inner.emit(EventKind::Observed {
                policy: Policy::Budget,
            });
            return true;
        }
        self.token.is_some()
    }

    /// Gives the token of an attempt back that is not sent.
    pub(super) fn refund(&mut self, now: Moment) {
        if let Some(token) = self.token.take() {
            self.inner.budget.ledger().refund(token, now);
        }
    }

    /// Ends the call: gives everything back and makes the answer.
    pub(super) fn finish(
        &mut self,
        stop: Stop,
        rejected: Option<Rejected>,
        now: Moment,
    ) -> Result<T, CallError<E>> {
        self.phase = Phase::Done;
        self.refund(now);
        if let Some(permit) = self.permit.take() {
            self.inner.release(permit, now);
        }
        let took = now.since(self.start);
        if self.plan.observes(Policy::Deadline) && nanos(took) > self.plan.deadline {
            self.inner.emit(EventKind::Observed {
                policy: Policy::Deadline,
            });
        }
        self.inner.emit(EventKind::CallEnded {
            stop,
            succeeded: stop == Stop::Succeeded,
            attempts: self.launched,
            took,
        });
        let reason = match (self.last.take(), rejected) {
            (Some(Last::Answer(Ok(value))), _) => return Ok(value),
            (Some(Last::Answer(Err(error))), _) => Reason::Operation(error),
            (None, Some(rejected)) => Reason::Rejected(rejected),
            (Some(Last::TimedOut) | None, _) => Reason::TimedOut,
        };
        let attempts = std::mem::take(&mut self.attempts);
        Err(CallError {
            reason,
            stop,
            effect: self.effect,
            attempts,
        })
    }

    /// Refuses the call before anything was sent.
    pub(super) fn reject(
        &mut self,
        by: Policy,
        stop: Stop,
        rejected: Rejected,
        now: Moment,
    ) -> Result<T, CallError<E>> {
        if self.launched == 0 {
            self.inner.emit(EventKind::Rejected { by });
        }
        self.finish(stop, Some(rejected), now)
    }
}
