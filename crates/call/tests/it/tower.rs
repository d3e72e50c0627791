//! A pipeline as a tower layer.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use backstay_call::{Breaker, Class, Effect, Phase, Pipeline, Reason, Retry, Stop};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// Panics when it is called without having been ready. A clone is not ready, whatever its original was.
#[derive(Default)]
struct Probe {
    asked: bool,
    ready: bool,
    calls: Arc<AtomicU32>,
    fails: u32,
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        Self {
            asked: false,
            ready: false,
            calls: Arc::clone(&self.calls),
            fails: self.fails,
        }
    }
}

impl Service<String> for Probe {
    type Response = String;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<String>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Ready at the second question.
        self.ready = std::mem::replace(&mut self.asked, true);
        if self.ready {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: String) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        if self.calls.fetch_add(1, SeqCst) < self.fails {
            return ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        ready(Ok(request))
    }
}

fn pipeline() -> Pipeline {
    let quick = Retry::default().max_attempts(3);
    Pipeline::builder("prices").retry(quick).build().unwrap()
}

/// CALL-15: every attempt waits for the readiness of its own clone, and a retry sends the same request.
#[tokio::test(start_paused = true)]
async fn every_attempt_asks_for_readiness_and_sends_the_request_again() {
    let probe = Probe {
        fails: 2,
        ..Probe::default()
    };
    let calls = Arc::clone(&probe.calls);
    let mut service = pipeline().layer().idempotent().layer(probe);
    let answer = service
        .ready()
        .await
        .unwrap()
        .call("seven".to_owned())
        .await
        .unwrap();
    assert_eq!((answer.as_str(), calls.load(SeqCst)), ("seven", 3));
}

/// CALL-15: without `idempotent` a request is a plain call.
#[tokio::test(start_paused = true)]
async fn a_layer_is_plain_unless_told_otherwise() {
    let service = pipeline().layer().layer(Probe {
        fails: 2,
        ..Probe::default()
    });
    let error = service.oneshot(String::new()).await.unwrap_err();
    assert_eq!(
        (error.stop(), error.effect()),
        (Stop::Effect, Effect::Unknown)
    );

    let classified = pipeline().classified(|result: &io::Result<String>| match result {
        Ok(_) => Class::Success,
        Err(_) => Class::Transient(Effect::NotExecuted),
    });
    let service = classified.layer().layer(Probe {
        fails: 2,
        ..Probe::default()
    });
    assert_eq!(service.oneshot("seven".to_owned()).await.unwrap(), "seven");
}

/// Never ready.
#[derive(Clone)]
struct Full;

impl Service<()> for Full {
    type Response = ();
    type Error = Infallible;
    type Future = std::future::Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, (): ()) -> Self::Future {
        panic!("called before it was ready")
    }
}

/// CALL-13: waiting for readiness is part of the call and ends at its deadline.
#[tokio::test(start_paused = true)]
async fn the_wait_for_readiness_is_charged_to_the_deadline() {
    let start = tokio::time::Instant::now();
    let mut service = pipeline().layer().layer(Full);
    let call = service
        .ready()
        .await
        .unwrap()
        .call(())
        .deadline(Duration::from_secs(1));
    let error = call.await.unwrap_err();
    assert!(matches!(error.reason(), Reason::TimedOut), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

/// CALL-5: services of one layer, and of layers made for each connection, share one breaker.
#[tokio::test(start_paused = true)]
async fn all_services_of_a_pipeline_share_its_state() {
    let breaker = Breaker::failure_rate(1.0).consecutive_failures(4);
    let pipeline = Pipeline::builder("prices")
        .breaker(breaker)
        .build()
        .unwrap();
    let layer = pipeline.layer();
    let failing = Probe {
        fails: u32::MAX,
        ..Probe::default()
    };
    let (one, other) = (layer.layer(failing.clone()), layer.layer(failing.clone()));
    let _ = one.oneshot(String::new()).await;
    let _ = other.oneshot(String::new()).await;
    for _connection in 0..2 {
        let _ = pipeline
            .layer()
            .layer(failing.clone())
            .oneshot(String::new())
            .await;
    }
    assert_eq!(pipeline.breaker().state().phase, Phase::Open);
    let calls = failing.calls.load(SeqCst);
    let error = layer
        .layer(failing)
        .oneshot(String::new())
        .await
        .unwrap_err();
    assert!(error.rejected().is_some(), "{error}");
    assert_eq!(calls, 4);
}

/// CALL-1: the future can go to another task, and dropping it early is a caller that has gone.
#[tokio::test(start_paused = true)]
async fn it_stacks_and_its_futures_are_send() {
    fn assert_send<F: Future + Send>(future: F) -> F {
        future
    }
    let pipeline = pipeline();
    let mut service = ServiceBuilder::new()
        .map_request(|number: u32| number + 1)
        .layer(pipeline.layer())
        .service(service_fn(async |number: u32| {
            Ok::<_, Infallible>(number * 2)
        }));
    let call = assert_send(service.ready().await.unwrap().call(3));
    assert_eq!(tokio::spawn(call).await.unwrap().unwrap(), 8);

    let hung = service_fn(|()| pending::<Result<(), Infallible>>());
    let call = pipeline.layer().layer(hung).oneshot(());
    assert!(
        tokio::time::timeout(Duration::from_secs(1), call)
            .await
            .is_err()
    );
    assert_eq!(pipeline.breaker().state().failed, 0);
}
