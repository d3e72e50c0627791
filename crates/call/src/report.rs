use std::future::Future;
use std::ops::Deref;
use std::pin::pin;

use backstay_core::budget::Extra;

use crate::attempt::Attempts;
use crate::budget::ExtraPermit;
use crate::classify::Classify;
use crate::clock;
use crate::error::CallError;
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

    /// Asks somebody else if the call fails. It is extra load, so it draws on the budget as a retry does.
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
        let Some(_permit) = pay(run.as_ref().get_ref().inner()) else {
            return Err(error);
        };
        fallback(&error).await.map_err(|_| error)
    }
}

/// A permit that pays for the fallback, or the leave to go without one.
fn pay(inner: &Inner) -> Option<Option<ExtraPermit>> {
    let plan = inner.plan.get();
    if !plan.on(Policy::Budget) {
        return Some(None);
    }
    let permit = inner.budget.draw(Extra::Retry, clock::now());
    if permit.is_none() && plan.acts(Policy::Budget) {
        return None;
    }
    Some(permit)
}
