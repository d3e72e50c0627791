use backstay_core::breaker::Admission;
use backstay_core::bulkhead::Permit;
use backstay_core::{Abandoned, Class, Effect, Fault, Moment, Outcome};

use crate::clock;
use crate::deadline;
use crate::error::Rejected;
use crate::event::EventKind;
use crate::inner::Inner;
use crate::pipeline::Pipeline;
use crate::policy::Policy;

/// The right to make one attempt by hand, from code that blocks or does not fit a closure.
///
/// It holds a place in the bulkhead and an admission by the breaker. Say how the attempt ended with
/// [`finish`](Self::finish). Dropped without, it says nothing about the dependency, unless its thread panics
/// (a failure) or the deadline around has passed (a failure too).
#[derive(Debug)]
#[must_use = "dropped at once, it protects nothing"]
pub struct Entered<'a> {
    inner: &'a Inner,
    admission: Option<Admission>,
    permit: Option<Permit>,
    deadline: Moment,
    start: Moment,
    open: bool,
}

impl Pipeline {
    /// Enters bulkhead and breaker for one attempt, without waiting and without a runtime.
    ///
    /// For blocking code; async code uses [`call`](Self::call). There is no time-out here: the code that blocks
    /// has to bring its own. Each is counted as a call; repeats are paid from [`budget`](Self::budget).
    ///
    /// ```
    /// # use backstay_call::{Class, Effect, Pipeline};
    /// # fn query() -> Result<u32, std::io::Error> { Ok(7) }
    /// # let ledger = Pipeline::builder("ledger").build().unwrap();
    /// let entered = ledger.enter()?;
    /// let answer = query();
    /// entered.finish(if answer.is_ok() { Class::Success } else { Class::Transient(Effect::Unknown) });
    /// # Ok::<(), backstay_call::Rejected>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A full bulkhead, an open breaker, or a deadline around that has passed.
    pub fn enter(&self) -> Result<Entered<'_>, Rejected> {
        let inner = self.inner();
        let (plan, now) = (inner.plan.get(), clock::now());
        if now >= deadline::current() {
            return Err(inner.reject(Rejected::DeadlinePassed));
        }
        let mut entered = Entered {
            inner,
            admission: None,
            permit: None,
            deadline: deadline::current(),
            start: now,
            open: false,
        };
        if plan.on(Policy::Bulkhead) {
            match inner.gate.try_enter(1, now) {
                Ok(permit) => entered.permit = Some(permit),
                Err(refusal) if plan.acts(Policy::Bulkhead) => {
                    return Err(inner.reject(inner.no_place(refusal)));
                }
                Err(_) => inner.emit(EventKind::Observed {
                    policy: Policy::Bulkhead,
                }),
            }
        }
        if plan.on(Policy::Breaker) {
            match inner
                .circuit
                .admit(now, |change| inner.emit(EventKind::Breaker(change)))
            {
                Ok(admission) => entered.admission = Some(admission),
                Err(rejection) if plan.acts(Policy::Breaker) && !rejection.observed() => {
                    return Err(inner.reject(Rejected::BreakerOpen {
                        phase: rejection.phase,
                        retry_after: rejection.retry_after,
                    }));
                }
                Err(_) => inner.emit(EventKind::Observed {
                    policy: Policy::Breaker,
                }),
            }
        }
        if plan.on(Policy::Budget) {
            inner.budget.ledger().on_call(now);
        }
        entered.open = true;
        inner.emit(EventKind::AttemptStarted {
            number: 1,
            hedge: false,
        });
        Ok(entered)
    }
}

impl Entered<'_> {
    /// Says how the attempt ended.
    pub fn finish(mut self, class: Class) {
        self.end(class.outcome(), class.effect(), clock::now());
    }

    fn end(&mut self, outcome: Outcome, effect: Effect, now: Moment) {
        let inner = self.inner;
        if let Some(admission) = self.admission.take() {
            inner.circuit.end(admission, outcome, now, |change| {
                inner.emit(EventKind::Breaker(change));
            });
        }
        if let Some(permit) = self.permit.take() {
            inner.release(permit, now);
        }
        if std::mem::take(&mut self.open) {
            inner.emit(EventKind::AttemptEnded {
                number: 1,
                hedge: false,
                outcome,
                effect,
                took: now.since(self.start),
            });
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.admission.is_none() && self.permit.is_none() && !self.open {
            return;
        }
        let now = clock::now();
        let outcome = if std::thread::panicking() {
            Outcome::Failure(Fault::Error)
        } else if now >= self.deadline {
            Outcome::Abandoned(Abandoned::DeadlinePassed)
        } else {
            Outcome::Abandoned(Abandoned::CallerGone)
        };
        self.end(outcome, Effect::Unknown, now);
    }
}
