//! Handlers that wait for the test, and a listener that remembers.

#![expect(clippy::unwrap_used, reason = "a test that can't set up must fail")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use backstay_call::event::{HandlerEnd, Shed};
use backstay_call::{Admission, AdmissionBuilder, Event, EventKind};
use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower::{Service, ServiceExt};

pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;

/// A service whose handlers run until the test lets them go.
#[derive(Clone)]
pub(crate) struct Handlers {
    begun: Arc<AtomicUsize>,
    pub(crate) go: Arc<Semaphore>,
}

pub(crate) type Answer = Result<Response<Body>, Infallible>;

impl Handlers {
    pub(crate) fn new() -> Self {
        Self {
            begun: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    pub(crate) fn router(&self, admission: &Admission) -> Router {
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

pub(crate) fn request(headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// Sends a request and lets it come as far as it can without time passing.
pub(crate) async fn send(app: &Router, headers: &[(&str, &str)]) -> JoinHandle<Answer> {
    let task = tokio::spawn(app.clone().oneshot(request(headers)));
    settle().await;
    task
}

/// Lets all other tasks run until they wait.
pub(crate) async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

pub(crate) fn summary(response: &Response<Body>) -> (u16, Option<&str>) {
    (
        response.status().as_u16(),
        header(response, "backstay-effect"),
    )
}

/// Panics when called without having said it is ready. Its clones are not.
pub(crate) struct Picky {
    pub(crate) ready: bool,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<Body>> for Picky {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called unready");
        Box::pin(async {
            sleep(MS(10)).await;
            Ok(Response::default())
        })
    }
}

/// What a listener heard.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<EventKind>>>);

impl Heard {
    pub(crate) fn on(&self, builder: AdmissionBuilder) -> AdmissionBuilder {
        let heard = self.clone();
        builder.listener(move |event: &Event<'_>| {
            assert_eq!(event.name, "server");
            heard.0.lock().unwrap().push(event.kind);
        })
    }

    pub(crate) fn take(&self) -> Vec<EventKind> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) fn admitted(waited: u64) -> EventKind {
    EventKind::Admitted { waited: MS(waited) }
}

pub(crate) fn shed(reason: Shed) -> EventKind {
    EventKind::Shed { reason }
}

pub(crate) fn handled(end: HandlerEnd, took: u64) -> EventKind {
    EventKind::Handled {
        end,
        took: MS(took),
    }
}

pub(crate) async fn body(answer: Answer) -> String {
    let bytes = axum::body::to_bytes(answer.unwrap().into_body(), 1_000).await;
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}
