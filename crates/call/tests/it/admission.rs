//! A server's admission as its user sees it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use backstay_call::event::{HandlerEnd, Shed};
use backstay_call::{
    Admission, AdmissionBuilder, AdmissionService, Bulkhead, Event, EventKind, Policy, deadline,
};
use http::{Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A service whose handlers run until the test lets them go.
#[derive(Clone)]
struct Handlers {
    begun: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

type Answer = Result<Response<Body>, Infallible>;

impl Handlers {
    fn new() -> Self {
        Self {
            begun: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }

    fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    fn router(&self, admission: &Admission) -> Router {
        let this = self.clone();
        let handler = async move || {
            this.begun.fetch_add(1, SeqCst);
            this.go.acquire().await.unwrap().forget();
            "done"
        };
        Router::new()
            .route("/", get(handler.clone()))
            .route("/health", get(async || "well"))
            .layer(admission.layer())
    }
}

fn request(headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// Sends a request and lets it come as far as it can without time passing.
async fn send(app: &Router, headers: &[(&str, &str)]) -> JoinHandle<Answer> {
    let task = tokio::spawn(app.clone().oneshot(request(headers)));
    settle().await;
    task
}

/// Lets all other tasks run until they wait.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

fn summary(response: &Response<Body>) -> (u16, Option<&str>) {
    (
        response.status().as_u16(),
        header(response, "backstay-effect"),
    )
}

/// CALL-18: so many in their handlers, so many waiting; who comes then is refused at once.
#[tokio::test(start_paused = true)]
async fn limit_queue_and_refusal() {
    let admission = Admission::builder().limit(1).queue(1).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let first = send(&app, &[]).await;
    let second = send(&app, &[]).await;
    let state = admission.state();
    assert_eq!((state.in_use, state.waiting, handlers.begun()), (1, 1, 1));

    let third = app.clone().oneshot(request(&[])).await.unwrap();
    assert_eq!(summary(&third), (503, Some("not-executed")));
    assert_eq!(header(&third, "retry-after"), Some("1"));
    assert_eq!(header(&third, "grpc-retry-pushback-ms"), None);

    handlers.go.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap().status(), StatusCode::OK);
    let state = admission.state();
    assert_eq!((state.in_use, state.waiting, handlers.begun()), (0, 0, 2));
}

/// CALL-22: the handler ends at the shorter of the header and the server's own limit, with the effect stated.
#[tokio::test(start_paused = true)]
async fn the_shorter_deadline_wins() {
    let admission = Admission::builder().deadline(MS(500)).build().unwrap();
    let handlers = Handlers::new();
    let app = handlers.router(&admission);
    let cases: &[(&[(&str, &str)], u64)] = &[
        (&[], 500),
        (&[("grpc-timeout", "200m")], 200),
        (&[("x-envoy-expected-rq-timeout-ms", "300")], 300),
        (
            &[
                ("x-envoy-expected-rq-timeout-ms", "300"),
                ("grpc-timeout", "200m"),
            ],
            200,
        ),
        (
            &[
                ("x-envoy-expected-rq-timeout-ms", "100"),
                ("grpc-timeout", "200m"),
            ],
            100,
        ),
        (&[("grpc-timeout", "2S")], 500),
        (&[("grpc-timeout", "99999999H")], 500),
        (
            &[("x-envoy-expected-rq-timeout-ms", "99999999999999999999999")],
            500,
        ),
        (&[("grpc-timeout", "-1S")], 500),
        (
            &[
                ("grpc-timeout", "soon"),
                ("x-envoy-expected-rq-timeout-ms", "400"),
            ],
            400,
        ),
        (&[("x-envoy-expected-rq-timeout-ms", "-1")], 500),
    ];
    for (headers, millis) in cases {
        let start = Instant::now();
        let answer = app.clone().oneshot(request(headers)).await.unwrap();
        assert_eq!(summary(&answer), (504, Some("unknown")), "{headers:?}");
        assert_eq!(start.elapsed(), MS(*millis), "{headers:?}");
        assert_eq!(admission.state().in_use, 0);
    }
    assert_eq!(handlers.begun(), cases.len());
}
