//! A pipeline around HTTP clients.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use backstay_call::{Effect, Pipeline, Retry};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpSocket;
use tokio::time::{Instant, Sleep, sleep};
use tower::{Layer, Service, ServiceExt};

const HOUR: Duration = Duration::from_secs(3_600);

/// Answers with one status after another, the last again and again; is ready only after a while.
#[derive(Default)]
struct Server {
    script: &'static [u16],
    retry_after: Option<&'static str>,
    ready_after: Duration,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    getting_ready: Option<Pin<Box<Sleep>>>,
}

impl Clone for Server {
    fn clone(&self) -> Self {
        Self {
            seen: Arc::clone(&self.seen),
            getting_ready: None,
            ..*self
        }
    }
}

impl Service<Request<()>> for Server {
    type Response = Response<()>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Response<()>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let after = self.ready_after;
        self.getting_ready
            .get_or_insert_with(|| Box::pin(sleep(after)))
            .as_mut()
            .poll(cx)
            .map(Ok)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let mut seen = self.seen.lock().unwrap();
        let status = self.script[seen.len().min(self.script.len() - 1)];
        seen.push(request.headers().clone());
        let mut response = Response::builder().status(status);
        if let Some(wait) = self.retry_after {
            response = response.header("retry-after", wait);
        }
        ready(Ok(response.body(()).unwrap()))
    }
}

/// Sends one request and returns the status it ended with and the headers of its attempts.
async fn exchange(
    pipeline: &Pipeline,
    server: Server,
    request: Request<()>,
) -> (u16, Vec<HeaderMap>) {
    let seen = Arc::clone(&server.seen);
    let response = pipeline
        .http()
        .layer(server)
        .oneshot(request)
        .await
        .unwrap();
    let seen = seen.lock().unwrap().clone();
    (response.status().as_u16(), seen)
}

fn pipeline() -> Pipeline {
    let deadline = Duration::from_secs(1);
    Pipeline::builder("prices")
        .deadline(deadline)
        .build()
        .unwrap()
}

fn request(method: Method) -> Request<()> {
    Request::builder().method(method).body(()).unwrap()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// CALL-15: the method says whether a request may be sent again, or the key it carries.
#[tokio::test(start_paused = true)]
async fn the_method_decides_on_repeats() {
    for (methods, attempts) in [
        (&["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"][..], 3),
        (&["POST", "PATCH", "CONNECT", "BREW"], 1),
    ] {
        for method in methods {
            let server = Server {
                script: &[500],
                ..Server::default()
            };
            let request = request(method.parse().unwrap());
            let (status, seen) = exchange(&pipeline(), server, request).await;
            assert_eq!((status, seen.len()), (500, attempts), "{method}");
        }
    }
    let mut keyed = request(Method::POST);
    keyed
        .headers_mut()
        .insert("idempotency-key", HeaderValue::from_static("\"order-7\""));
    let server = Server {
        script: &[500, 200],
        ..Server::default()
    };
    let (status, seen) = exchange(&pipeline(), server, keyed).await;
    assert_eq!((status, seen.len()), (200, 2));
    assert!(
        seen.iter()
            .all(|headers| text(headers, "idempotency-key") == Some("\"order-7\""))
    );
}

/// CALL-22, CALL-23: every attempt says how long the caller still waits, and how many went before.
#[tokio::test(start_paused = true)]
async fn every_attempt_carries_its_headers() {
    let server = Server {
        script: &[429, 429, 200],
        ..Server::default()
    };
    let (_, seen) = exchange(&pipeline(), server, request(Method::POST)).await;
    let before: Vec<_> = seen
        .iter()
        .map(|headers| text(headers, "grpc-previous-rpc-attempts"))
        .collect();
    assert_eq!(before, [None, Some("1"), Some("2")]);
    // A second less 1 %.
    assert_eq!(text(&seen[0], "grpc-timeout"), Some("990000u"));
    assert!(
        seen.iter()
            .all(|headers| headers.contains_key("grpc-timeout"))
    );

    let ready_after = Duration::from_millis(400);
    let server = Server {
        script: &[200],
        ready_after,
        ..Server::default()
    };
    let (_, seen) = exchange(&pipeline(), server, request(Method::POST)).await;
    assert_eq!(
        text(&seen[0], "grpc-timeout"),
        Some("594000u"),
        "the wait for readiness is gone"
    );
}

/// CALL-22: of the request's own time and ours the shorter goes on; without a deadline there is none of ours.
#[tokio::test(start_paused = true)]
async fn a_shorter_time_of_the_caller_stays() {
    for (theirs, sent) in [("5m", "5m"), ("9H", "990000u"), ("rubbish", "990000u")] {
        let mut request = request(Method::POST);
        request
            .headers_mut()
            .insert("grpc-timeout", HeaderValue::from_static(theirs));
        let server = Server {
            script: &[200],
            ..Server::default()
        };
        let (_, seen) = exchange(&pipeline(), server, request).await;
        assert_eq!(text(&seen[0], "grpc-timeout"), Some(sent));
    }
    let unlimited = Pipeline::empty("prices").build().unwrap();
    let server = Server {
        script: &[200],
        ..Server::default()
    };
    let (_, seen) = exchange(&unlimited, server, request(Method::POST)).await;
    assert!(seen[0].is_empty(), "{:?}", seen[0]);
}

/// CALL-15: the key goes with every attempt, quoted as the header's draft asks.
#[tokio::test]
async fn a_key_is_sent_quoted() {
    let op = |attempt: backstay_call::Attempt| ready(Ok::<_, io::Error>(attempt.headers()));
    let headers = pipeline().call_keyed(r#"a "b" \c"#, op).await.unwrap();
    assert_eq!(text(&headers, "idempotency-key"), Some(r#""a \"b\" \\c""#));
    let headers = pipeline().call(op).await.unwrap();
    assert!(!headers.contains_key("idempotency-key"));
}

/// CALL-13: Retry-After is waited for where there is time, else the caller gets the response at once.
#[tokio::test(start_paused = true)]
async fn waits_as_long_as_asked_or_not_at_all() {
    let patient = Pipeline::builder("prices").deadline(HOUR).build().unwrap();
    let start = Instant::now();
    let server = Server {
        script: &[429, 200],
        retry_after: Some("30"),
        ..Server::default()
    };
    let (status, seen) = exchange(&patient, server.clone(), request(Method::POST)).await;
    assert_eq!((status, seen.len()), (200, 2));
    assert!(start.elapsed() >= Duration::from_secs(30));

    let start = Instant::now();
    let server = Server {
        seen: Arc::default(),
        ..server
    };
    let (status, seen) = exchange(&pipeline(), server, request(Method::POST)).await;
    assert_eq!((status, seen.len()), (429, 1));
    // A timer's tick, no more.
    assert!(start.elapsed() < Duration::from_millis(10));
}

/// CALL-2, CALL-15: a POST whose connection was refused is sent again: nothing can have happened.
#[tokio::test]
async fn a_refused_post_is_sent_again() {
    // Bound but not listening: connections are refused, and nobody else gets the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let socket = Arc::new(Mutex::new(Some(socket)));

    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let opens_after_a_refusal = client.map_err(move |error| {
        if let Some(socket) = socket.lock().unwrap().take() {
            let listener = socket.listen(8).unwrap();
            let app = Router::new().route("/orders", post(async || "done"));
            tokio::spawn(axum::serve(listener, app).into_future());
        }
        error
    });
    let once_more = Retry::default().max_attempts(2);
    let orders = Pipeline::builder("orders")
        .retry(once_more)
        .build()
        .unwrap();
    let mut service = orders.http().layer(opens_after_a_refusal);
    let request = Request::post(format!("http://{address}/orders"))
        .body(Full::default())
        .unwrap();
    let call = service.call(request).report();
    let report = tokio::spawn(call).await.unwrap();
    assert_eq!(report.result.as_ref().unwrap().status(), 200);
    let effects: Vec<_> = report
        .attempts()
        .iter()
        .map(|attempt| attempt.effect)
        .collect();
    assert_eq!(effects, [Effect::NotExecuted, Effect::Executed]);
}
