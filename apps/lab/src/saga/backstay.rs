//! The same order as a saga of ours.

use backstay::saga::{Attempt, BuildError, Retry, Saga, StepError, UndoError, Version};
use tokio::time::sleep;

use super::order::{Call, Order};
use super::remote::{CallError, Remote};

type Cx = backstay::saga::Cx<Remote, Order>;

/// The article's order.
pub(super) type PlaceOrder = Saga<Remote, Order, i64>;

/// A participant that is started again is worth some seconds; five attempts can be over in one.
const ATTEMPTS: u32 = 10;

pub(super) fn place_order() -> Result<PlaceOrder, BuildError> {
    let saga = Saga::builder("place-order", Version(1));
    let retry = || Retry::attempts(ATTEMPTS);
    // No pivot: it would be `confirm`, which may be refused, and that after an attempt of which nobody knows parks a saga.
    let order = saga.step("create", create).retry(retry()).undo(delete);
    let stock = saga.step("reserve", reserve).after(order);
    let stock = stock.retry(retry()).undo(release);
    let payment = saga.step("charge", charge).after(stock);
    let payment = payment.retry(retry()).undo(refund);
    // Last, so that a confirmation is taken back only if nobody could find out whether it was given.
    let confirmed = saga.step("confirm", confirm).needs(order).after(payment);
    let confirmed = confirmed.retry(retry()).undo(revoke);
    saga.build(confirmed)
}

async fn create(cx: Cx) -> Result<i64, StepError> {
    act(&cx, Call::Create, None).await.map_err(of_a_step)
}

async fn reserve(cx: Cx) -> Result<i64, StepError> {
    act(&cx, Call::Reserve, None).await.map_err(of_a_step)
}

async fn charge(cx: Cx) -> Result<i64, StepError> {
    act(&cx, Call::Charge, None).await.map_err(of_a_step)
}

async fn confirm(cx: Cx, order: i64) -> Result<i64, StepError> {
    act(&cx, Call::Confirm, Some(order))
        .await
        .map_err(of_a_step)
}

/// What there is to undo. Our layer knows it better: it keeps what the participant has answered under the step's key.
fn done(attempt: Attempt<i64>) -> Option<i64> {
    match attempt {
        Attempt::Done(effect) => Some(effect),
        Attempt::Unknown => None,
    }
}

async fn delete(cx: Cx, attempt: Attempt<i64>) -> Result<(), UndoError> {
    Ok(act(&cx, Call::Delete, done(attempt)).await.map(drop)?)
}

async fn release(cx: Cx, attempt: Attempt<i64>) -> Result<(), UndoError> {
    Ok(act(&cx, Call::Release, done(attempt)).await.map(drop)?)
}

async fn refund(cx: Cx, attempt: Attempt<i64>) -> Result<(), UndoError> {
    Ok(act(&cx, Call::Refund, done(attempt)).await.map(drop)?)
}

async fn revoke(cx: Cx, attempt: Attempt<i64>, _: i64) -> Result<(), UndoError> {
    Ok(act(&cx, Call::Revoke, done(attempt)).await.map(drop)?)
}

async fn act(cx: &Cx, call: Call, of: Option<i64>) -> Result<i64, CallError> {
    loop {
        let done = cx.app().call(*cx.input(), call, of, cx.headers()).await;
        match done {
            // Until the attempt's time is over. One that a dead process had begun is free after 30 s.
            Err(CallError::Wait(time)) => sleep(time).await,
            done => return done,
        }
    }
}

fn of_a_step(error: CallError) -> StepError {
    match error {
        CallError::Refused => StepError::failed(error),
        CallError::NotExecuted(_) => StepError::not_executed(error),
        CallError::Wait(_) | CallError::Unknown(_) => StepError::unknown(error),
    }
}
