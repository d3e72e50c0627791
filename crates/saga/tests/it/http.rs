use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use backstay_saga::{
    Attempt, Cx, Engine, Saga, Settled, StepEffect, StepError, UndoError, Version,
};
use http::{HeaderMap, HeaderValue, Request};
use tokio::time::sleep;
use tower_layer::Layer;
use tower_service::Service;

use crate::world::memory;

type Seen = Arc<Mutex<Vec<HeaderMap>>>;
type Context = Cx<Seen, ()>;

async fn call(cx: Context) -> Result<(), StepError> {
    cx.app().lock().unwrap().push(cx.headers());
    match cx.attempt() {
        1 => Err(StepError::unknown("lost")),
        _ => Ok(()),
    }
}

async fn undo(cx: Context, _: Attempt<()>) -> Result<(), UndoError> {
    cx.app().lock().unwrap().push(cx.headers());
    Ok(())
}

async fn fail(_: Context) -> Result<(), StepError> {
    Err(StepError::failed("no"))
}

/// SAG-4, SAG-6: attempts carry one key, and the undo its own and the one that it undoes.
#[tokio::test(start_paused = true)]
async fn calls_carry_headers() {
    let saga = Saga::builder("calls", Version(1));
    let one = saga.step("one", call).undo(undo);
    saga.step("two", fail).after(one).nothing_to_undo();
    let saga = saga.build(one).unwrap();
    let (store, clock) = memory();
    let seen = Seen::default();
    let engine = Engine::builder(store, seen.clone()).run(&saga).clock(clock);
    let engine = engine.allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "1", ()).await.unwrap();
    assert!(matches!(
        handle.settled().await.unwrap(),
        Settled::Undone(_)
    ));
    let seen = seen.lock().unwrap();
    let [first, second, undo] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(first["idempotency-key"], second["idempotency-key"]);
    assert_ne!(first["idempotency-key"], undo["idempotency-key"]);
    assert_eq!(first["idempotency-key"], undo["backstay-undoes"]);
    assert!(!first.contains_key("backstay-undoes"));
    let fence = first["fencing-token"].to_str().unwrap();
    assert!(fence.starts_with("\"claim:saga/default/shard/"), "{fence}");
    assert!(fence.ends_with("\";token=1"), "{fence}");
    assert_eq!(first["grpc-timeout"], "29700000u");
    let trace = |headers: &HeaderMap| headers["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(trace(first)[..36], trace(undo)[..36]);
    assert_ne!(trace(first), trace(second));
}

/// Writes down the headers that it sends.
struct Client(Seen);

impl Service<Request<()>> for Client {
    type Response = ();
    type Error = StepError;
    type Future = Ready<Result<(), StepError>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), StepError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.lock().unwrap().push(request.headers().clone());
        ready(Ok(()))
    }
}

/// Sends a request, waits, and sends another.
async fn send_twice(cx: Context) -> Result<(), StepError> {
    let mut client = cx.layer().layer(Client(cx.app().clone()));
    client.call(Request::new(())).await?;
    sleep(Duration::from_secs(10)).await;
    let mut request = Request::new(());
    let headers = request.headers_mut();
    headers.insert("traceparent", HeaderValue::from_static("mine"));
    headers.insert("grpc-timeout", HeaderValue::from_static("1H"));
    client.call(request).await
}

/// SAG-6: requests through a layer have the time that is left when each is sent, and one key.
#[tokio::test(start_paused = true)]
async fn a_layer_tells_the_time_that_is_left() {
    let saga = Saga::builder("calls", Version(1));
    let twice = saga.step("twice", send_twice).nothing_to_undo();
    let saga = saga.build(twice).unwrap();
    let (store, clock) = memory();
    let seen = Seen::default();
    let engine = Engine::builder(store, seen.clone()).run(&saga).clock(clock);
    let engine = engine.allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "1", ()).await.unwrap();
    assert_eq!(handle.settled().await.unwrap(), Settled::Done(()));
    let seen = seen.lock().unwrap();
    let [first, second] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(first["idempotency-key"], second["idempotency-key"]);
    assert_eq!(first["grpc-timeout"], "29700000u");
    assert_eq!(second["grpc-timeout"], "19800000u");
    assert_eq!(second.get_all("grpc-timeout").iter().count(), 1);
    assert_eq!(second["traceparent"], "mine");
}

/// SAG-3: what an answer means.
#[test]
fn answers_are_read() {
    let cases = [
        (402, "", "", StepEffect::Failed),
        (410, "", "not-executed", StepEffect::Failed),
        (410, "", "unknown", StepEffect::Unknown),
        (409, "", "", StepEffect::Failed),
        (409, "1", "unknown", StepEffect::Unknown),
        (429, "", "", StepEffect::NotExecuted),
        (503, "2", "", StepEffect::NotExecuted),
        (503, "", "", StepEffect::Unknown),
        (503, "", "not-executed", StepEffect::NotExecuted),
        (503, "2", "executed", StepEffect::Unknown),
        (500, "", "", StepEffect::Unknown),
        (302, "", "", StepEffect::Unknown),
    ];
    for (status, after, effect, expected) in cases {
        let mut headers = HeaderMap::new();
        if !after.is_empty() {
            headers.insert("retry-after", after.parse().unwrap());
        }
        if !effect.is_empty() {
            headers.insert("backstay-effect", effect.parse().unwrap());
        }
        let status = http::StatusCode::from_u16(status).unwrap();
        let error = StepError::answered(status, &headers).unwrap_err();
        assert_eq!(error.effect(), expected, "{status} {after} {effect}");
    }
    assert!(StepError::answered(http::StatusCode::CREATED, &HeaderMap::new()).is_ok());
}
