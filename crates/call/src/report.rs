use std::future::Future;
use std::ops::Deref;
use std::pin::pin;

use backstay_core::budget::Extra;

use crate::attempt::Attempts;
use crate::classify::Classify;
use crate::clock;
use crate::error::CallError;
use crate::event::EventKind;
use crate::inner::Inner;
use crate::operation::Operation;
use crate::policy::Policy;
use crate::run::Run;

/// A result together with the attempts that led to it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<T, E> {
    /// What the caller would have got without a report.
    pub result: Result<T, CallError<E>>,
    attempts: Attempts,
}

impl<T, E> Report<T, E> {
    /// The attempts in the order in which they ended.
    pub fn attempts(&self) -> &Attempts {
        match &self.result {
            Ok(_) => &self.attempts,
            Err(error) => error.attempts(),
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
    /// Makes the call and shows its attempts, also when it succeeds.
    pub async fn report(self) -> Report<T, E> {
        let mut run = pin!(self);
        let result = run.as_mut().await;
        let attempts = run.take_attempts();
        Report { result, attempts }
    }

    /// Answers with a value at hand if the call fails: a default, a cached copy, "unknown".
    ///
    /// `None` lets the error through, for failures that no value can stand for.
    ///
    /// # Errors
    ///
    /// The call's, where `value` has none.
    pub async fn fallback_value(
        self,
        value: impl FnOnce(&CallError<E>) -> Option<T>,
    ) -> Result<T, CallError<E>> {
        self.await.or_else(|error| value(&error).ok_or(error))
    }

    /// Asks somebody else if the call fails.
    ///
    /// After an attempt it is extra load, so it draws on the budget as a retry does. In place of a call that was
    /// refused before anything was sent it is not, and draws nothing.
    ///
    /// It is a call of its own, after this one's deadline: send it through a pipeline of its own.
    ///
    /// # Errors
    ///
    /// The call's, where the budget is used up or the other fails too.
    pub async fn fallback_call<Fallback, Answer, Other>(
        self,
        fallback: Fallback,
    ) -> Result<T, CallError<E>>
    where
        Fallback: FnOnce(&CallError<E>) -> Answer,
        Answer: Future<Output = Result<T, Other>>,
    {
        let mut run = pin!(self);
        let error = match run.as_mut().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let inner = run.as_ref().get_ref().inner();
        let plan = inner.plan.get();
        let mut permit = None;
        if plan.on(Policy::Budget) && !error.attempts().is_empty() {
            permit = inner.budget.draw(Extra::Retry, clock::now());
            if permit.is_none() {
                if plan.acts(Policy::Budget) {
                    return Err(error);
                }
                inner.emit(EventKind::Observed {
                    policy: Policy::Budget,
                });
            }
        }
        let answer = fallback(&error).await;
        drop(permit);
        answer.map_err(|_| error)
    }
}
