//! What a call does when it can't simply go on: queue, repeat, hedge, give up.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use backstay_core::budget::{Extra, Token};
use backstay_core::bulkhead::{Entry, Refusal};
use backstay_core::{Abandoned, Class, Effect, Moment, Outcome, Pushback};

use super::Step;
use super::flight::{Hedged, Last, Rare};
use super::state::{Kind, Phase, Running, State, Unpaid, may_pass};
use crate::attempt::{Attempt, AttemptRecord, Attempts};
use crate::deadline::Scope;
use crate::error::{CallError, Reason, Rejected, Stop};
use crate::event::EventKind;
use crate::inner::Inner;
use crate::operation::Operation;
use crate::policy::Policy;
use crate::turn::wake;

/// Nearly every call never needs one.
type MaybeRare<Fut, T, E> = Option<Box<Rare<Fut, T, E>>>;

/// A call without a deadline waits no longer than this for a dependency that asks it to: as long as any backoff.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// A timer fires at the next full millisecond: a pause up to the last moment would end too late.
const TIMER_TICK: Duration = Duration::from_millis(1);

/// What follows a failure.
pub(super) enum Next {
    Stop(Stop),
    Now,
    Pause,
}

/// Takes a place in the queue, or is refused.
#[cold]
pub(super) fn queue_up<Fut, T, E>(
    inner: &Inner,
    state: &mut State,
    rare: &mut MaybeRare<Fut, T, E>,
    entry: Entry<Waker>,
) -> Step<T, E> {
    match entry {
        Entry::Admitted(permit) => {
            state.permit = Some(permit);
            Step::Go
        }
        Entry::Queued(ticket, made_room) => {
            wake(made_room);
            rare.get_or_insert_default().ticket = Some(ticket);
            state.phase = Phase::Queued;
            inner.emit(EventKind::Queued);
            Step::Go
        }
        Entry::Refused(refusal) => Step::End(refuse(inner, state, rare, refusal)),
    }
}

/// Ends a call that got no place.
pub(super) fn refuse<Fut, T, E>(
    inner: &Inner,
    state: &mut State,
    rare: &mut MaybeRare<Fut, T, E>,
    refusal: Refusal,
) -> Result<T, CallError<E>> {
    let now = state.now();
    let rejected = inner.no_place(refusal);
    conclude(inner, state, rare, Stop::Rejected, Some(rejected), now)
}

/// Ends the call with what it has, or with the refusal where it has nothing.
#[cold]
pub(super) fn conclude<Fut, T, E>(
    inner: &Inner,
    state: &mut State,
    rare: &mut MaybeRare<Fut, T, E>,
    stop: Stop,
    rejected: Option<Rejected>,
    now: Moment,
) -> Result<T, CallError<E>> {
    let rare = rare.as_mut().map(|rare| std::mem::take(&mut **rare));
    let (token, last, effect, attempts) = match rare {
        Some(rare) => (rare.token, rare.last, rare.effect, rare.attempts),
        None => (None, None, Effect::NotExecuted, Attempts::default()),
    };
    refund(inner, token, now);
    let rejected = rejected.map(|rejected| {
        if state.launched == 0 {
            inner.reject(rejected)
        } else {
            rejected
        }
    });
    state.finish(inner, stop, now);
    let reason = match (last, rejected) {
        (Some(Last::Answer(Ok(value))), _) => return Ok(value),
        (Some(Last::Answer(Err(error))), _) => Reason::Operation(error),
        (None, Some(rejected)) => Reason::Rejected(rejected),
        (Some(Last::TimedOut) | None, _) => Reason::TimedOut,
    };
    Err(CallError {
        pipeline: Arc::clone(&inner.name),
        reason,
        stop,
        effect,
        attempts,
    })
}

/// Keeps the end of the first attempt.
pub(super) fn book<Fut, T, E>(
    inner: &Inner,
    rare: &mut Rare<Fut, T, E>,
    mut record: AttemptRecord,
    (last, class): (Last<T, E>, Class),
    now: Moment,
) {
    record.waited = std::mem::take(&mut rare.waited);
    settle(inner, rare.token.take(), now);
    rare.record(record, class != Class::Success);
    rare.learn(last, class);
}

/// Ends the call if the last answer decides it; what is still under way has lost.
///
/// The futures that have lost are dropped last, when everything is booked.
#[cold]
pub(super) fn arrive<Fut, T, E>(
    inner: &Inner,
    state: &mut State,
    rare: &mut MaybeRare<Fut, T, E>,
    now: Moment,
) -> Option<Step<T, E>> {
    let known = rare.get_or_insert_default();
    if may_pass(known.last_class) {
        return None;
    }
    let succeeded = known.last_class == Class::Success;
    let stop = if succeeded {
        Stop::Succeeded
    } else {
        Stop::Permanent
    };
    let lost = (Outcome::Abandoned(Abandoned::LostRace), Effect::Unknown);
    if let Some(flight) = state.flight.take() {
        let mut record = state.land(inner, flight, false, lost, now);
        record.waited = std::mem::take(&mut known.waited);
        settle(inner, known.token.take(), now);
        known.record(record, !succeeded);
    }
    let hedge = known.hedge.take();
    let mut loser = None;
    if let Some(hedge) = hedge {
        let record = state.land(inner, hedge.flight, true, lost, now);
        settle(inner, hedge.token, now);
        known.record(record, !succeeded);
        loser = hedge.work;
    }
    // The caller may ask for the attempts of a success.
    let attempts = succeeded.then(|| known.attempts.clone());
    let result = conclude(inner, state, rare, stop, None, now);
    if let (Some(attempts), Some(rare)) = (attempts, rare) {
        rare.attempts = attempts;
    }
    drop(loser);
    Some(Step::End(result))
}

/// What to do now that no attempt is under way and the last one failed.
pub(super) fn after_failure<Fut, T, E>(
    inner: &Inner,
    state: &mut State,
    rare: &mut Rare<Fut, T, E>,
    now: Moment,
) -> Next {
    let pushback = std::mem::take(&mut rare.pushback);
    if !may_pass(rare.last_class) {
        return Next::Stop(Stop::Permanent);
    }
    if state.deadline != Moment::NEVER && state.too_late(now) {
        return Next::Stop(Stop::Deadline);
    }
    if pushback == Pushback::Never {
        return Next::Stop(Stop::Pushback);
    }
    if state.kind == Kind::Plain && rare.last_class.effect() != Effect::NotExecuted {
        return Next::Stop(Stop::Effect);
    }
    if state.number() >= state.plan.max_attempts() {
        return Next::Stop(Stop::Attempts);
    }
    let hedge_was_due = std::mem::replace(&mut state.hedge_at, Moment::NEVER) != Moment::NEVER;
    if hedge_was_due
        && pushback == Pushback::Unstated
        && let Ok(token) = pay_for_hedge(inner, state, now)
    {
        rare.token = token;
        return Next::Now;
    }
    if state.plan.observes(Policy::Retry) {
        inner.emit(EventKind::Observed {
            policy: Policy::Retry,
        });
    }
    if !state.plan.acts(Policy::Retry) {
        return Next::Stop(Stop::Attempts);
    }
    pause(inner, state, rare, pushback, now)
}

fn pause<Fut, T, E>(
    inner: &Inner,
    state: &State,
    rare: &mut Rare<Fut, T, E>,
    pushback: Pushback,
    now: Moment,
) -> Next {
    let most = if state.deadline == Moment::NEVER {
        LONGEST_PAUSE
    } else {
        state
            .deadline
            .since(now)
            .saturating_sub(state.plan.min_time())
            .saturating_sub(TIMER_TICK)
    };
    let settings = inner.settings.load();
    rare.backoff = settings
        .retry
        .waits()
        .delay(state.number(), rare.backoff, fastrand::u64(..));
    let mut wait = rare.backoff;
    if let Pushback::After(asked) = pushback {
        if asked > most {
            return Next::Stop(Stop::Pushback);
        }
        // The backoff on top spreads those who were all told the same, and leaves time for the attempt.
        wait = asked.saturating_add(wait.min(most.saturating_sub(asked) / 2));
    } else if wait > most {
        return Next::Stop(Stop::Deadline);
    }
    let Ok(token) = state.pay(inner, Extra::Retry, now) else {
        return Next::Stop(Stop::Budget);
    };
    rare.token = token;
    rare.waited = wait;
    rare.until = now.plus(wait);
    inner.emit(EventKind::RetryScheduled {
        number: state.number() + 1,
        wait,
    });
    Next::Pause
}

/// Sends the second attempt beside a late first, if the budget, the breaker and the time left allow it.
pub(super) fn send_hedge<Op, Fut, T, E>(
    inner: &Inner,
    state: &mut State,
    rare: &mut Rare<Fut, T, E>,
    op: &Op,
    now: Moment,
) where
    Op: Operation<Future = Fut>,
{
    let Ok(token) = pay_for_hedge(inner, state, now) else {
        return;
    };
    let flight = match state.take_off(inner, true, now) {
        Ok(flight) => flight,
        Err((_, rejected)) => {
            refund(inner, token, now);
            if let Some(by) = rejected.by() {
                inner.emit(EventKind::HedgeSuppressed { by });
            }
            return;
        }
    };
    let attempt = state.attempt(&flight);
    let hedge = rare.hedge.insert(Hedged {
        work: None,
        flight,
        token,
    });
    state.running = Running::Hedge;
    hedge.work = Some(Box::pin(call(op, attempt)));
    state.running = Running::Ours;
}

fn pay_for_hedge(inner: &Inner, state: &State, now: Moment) -> Result<Option<Token>, Unpaid> {
    if state.plan.observes(Policy::Hedge) {
        inner.emit(EventKind::Observed {
            policy: Policy::Hedge,
        });
        return Err(Unpaid);
    }
    let paid = state.pay(inner, Extra::Hedge, now);
    if paid.is_err() {
        inner.emit(EventKind::HedgeSuppressed { by: Policy::Budget });
    }
    paid
}

/// Runs the user's closure, which may already look at the deadline.
#[inline]
pub(super) fn call<Op, Fut>(op: &Op, attempt: Attempt) -> Fut
where
    Op: Operation<Future = Fut>,
{
    let _scope = Scope::enter(attempt.deadline);
    op.start(attempt)
}

/// Books the end of an attempt that was paid for.
pub(super) fn settle(inner: &Inner, token: Option<Token>, now: Moment) {
    if let Some(token) = token {
        inner.budget.ledger().settle(token, now);
    }
}

/// Gives the token of an attempt back that was not sent.
pub(super) fn refund(inner: &Inner, token: Option<Token>, now: Moment) {
    if let Some(token) = token {
        inner.budget.ledger().refund(token, now);
    }
}
