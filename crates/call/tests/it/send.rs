//! Where a call can run: wherever the user's own code can.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use backstay_call::{CallError, Pipeline};
use tokio::task::LocalSet;

use crate::common::*;

fn drop_sent<T: Send>(value: T) {
    drop(value);
}

type Boxed<'a> = Pin<Box<dyn Future<Output = Result<u32, CallError<Fail>>> + Send + 'a>>;

/// CALL-1: a call is `Send` where the operation and its future are.
#[tokio::test]
async fn a_call_is_send_where_the_operation_is() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let text = Arc::new(String::from("seven"));
    let task = tokio::spawn({
        let (pipeline, text) = (pipeline.clone(), text.clone());
        async move {
            let calls = by_error(&pipeline);
            let op = |_| {
                let text = text.clone();
                async move {
                    tokio::task::yield_now().await;
                    Ok(u32::try_from(text.len()).unwrap())
                }
            };
            calls.call(op).await
        }
    });
    assert_eq!(task.await.unwrap().unwrap(), 5);

    let calls = by_error(&pipeline);
    let boxed: Boxed<'_> = Box::pin(calls.call(|_| async { Ok(1) }));
    assert!(boxed.await.is_ok());
    drop_sent(calls.call(|_| async { Ok(1) }).report());
    drop_sent(
        calls
            .call(|_| async { Ok(1) })
            .fallback_call(|_| async { Ok::<_, Fail>(1) }),
    );
    drop_sent(calls.call(|_| async { Ok(1) }).fallback_value(|_| None));
}

/// CALL-1: an operation may borrow what is around it.
#[tokio::test]
async fn an_operation_may_borrow() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let local = String::from("seven");
    let seen = std::sync::Mutex::new(Vec::new());
    let answer = by_error(&pipeline)
        .call(async |attempt| {
            seen.lock()
                .unwrap()
                .push((local.as_str(), attempt.number()));
            Ok(1)
        })
        .await;
    assert!(answer.is_ok());
    assert_eq!(seen.into_inner().unwrap(), [("seven", 1)]);
}

/// CALL-1: an operation that is not `Send` runs where such code runs.
#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_send_runs_on_a_local_set() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let shared = Rc::new(7);
    let answer = LocalSet::new()
        .run_until(async move {
            let task = tokio::task::spawn_local(async move {
                let op = |_| {
                    let shared = shared.clone();
                    async move {
                        tokio::time::sleep(ms(5)).await;
                        Ok(*shared)
                    }
                };
                by_error(&pipeline).call(op).await
            });
            task.await.unwrap()
        })
        .await;
    assert_eq!(answer.unwrap(), 7);
}

/// CALL-27: a call is no heavier than a few cache lines and two of the operation's futures.
#[test]
fn a_call_is_small() {
    let pipeline = Pipeline::builder("p").build().unwrap();
    let calls = by_error(&pipeline);
    let small = calls.call(|_| async { Ok(1) });
    let size = size_of_val(&small);
    assert!(size <= 1024, "{size}");
    let big = calls.call(|_| async {
        let held = [0u8; 1000];
        std::future::pending::<()>().await;
        Ok(u32::from(held[7]))
    });
    assert!(
        size_of_val(&big) <= size + 2 * 1016,
        "{}",
        size_of_val(&big)
    );
}
