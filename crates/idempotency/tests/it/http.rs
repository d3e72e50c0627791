//! The `Idempotency-Key` header around handlers, without a network.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use backstay_idempotency::{BuildError, IdempotencyLayer, IdempotencyLayerBuilder, Settle};
use backstay_store::{Put, Store};
use futures_util::future::join_all;
use futures_util::stream;
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::ground::{A_MINUTE, Ground, until};

/// A server whose handler answers as it is told, and counts.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) app: Router,
    pub(crate) handled: Arc<AtomicU32>,
    /// A handler begins when there is a permit.
    pub(crate) gate: Arc<Semaphore>,
}

/// What came back.
#[derive(Debug, PartialEq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) replayed: bool,
    headers: Vec<(String, String)>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The name of the problem, and what the request has done.
    pub(crate) fn problem(&self) -> (u16, String, &str) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let details: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(details["status"], self.status);
        let name = details["type"].as_str().unwrap();
        let name = name.strip_prefix("urn:backstay:idempotency:").unwrap();
        (
            self.status,
            name.to_owned(),
            self.header("backstay-effect").unwrap(),
        )
    }
}

impl Server {
    pub(crate) fn new(
        layer: IdempotencyLayerBuilder,
        answer: impl Fn(u32) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let handled = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let (counts, waits) = (handled.clone(), gate.clone());
        let route = move |_: Bytes| {
            let (count, waits, answer) =
                (counts.fetch_add(1, SeqCst), waits.clone(), answer.clone());
            async move {
                waits.acquire().await.unwrap().forget();
                answer(count)
            }
        };
        let app = Router::new()
            .route("/charges", any(route.clone()))
            .route("/refunds", any(route))
            .layer(layer.build().unwrap());
        Self { app, handled, gate }
    }

    pub(crate) fn closed(self) -> Self {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
        self
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Got {
        got(self.app.clone().oneshot(request).await.unwrap()).await
    }

    /// Waits until so many handlers have begun.
    pub(crate) async fn begun(&self, times: u32) {
        until(async || self.times() >= times).await;
    }

    pub(crate) fn times(&self) -> u32 {
        self.handled.load(SeqCst)
    }
}

pub(crate) async fn got(response: Response) -> Got {
    let (parts, body) = response.into_parts();
    let headers = parts.headers.iter();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    Got {
        status: parts.status.as_u16(),
        body: axum::body::to_bytes(body, 1 << 24).await.unwrap(),
        replayed: parts
            .headers
            .get("idempotency-replayed")
            .is_some_and(|value| value == "true"),
        headers: headers
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
    }
}

pub(crate) fn layer(store: &Store) -> IdempotencyLayerBuilder {
    IdempotencyLayer::builder(store.clone()).allow_volatile()
}

pub(crate) fn post(key: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/charges").header("idempotency-key", key);
    request.body(body.into()).unwrap()
}

fn counted(count: u32) -> Response {
    (StatusCode::CREATED, format!("charge {count}")).into_response()
}

/// IDE-1, IDE-2: two hundred requests at once with one key are handled once; all get the first answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_are_handled_once() {
    for ground in Ground::each().await {
        let server = Server::new(layer(&ground.store).wait(A_MINUTE), counted);
        let requests = (0..200).map(|_| {
            let server = server.clone();
            tokio::spawn(async move { server.send(post("\"k\"", "tea")).await })
        });
        let all = join_all(requests).await;
        let all: Vec<Got> = all.into_iter().map(Result::unwrap).collect();
        assert!(
            all.iter()
                .all(|got| got.status == 201 && got.body == "charge 0")
        );
        assert_eq!(
            all.iter().filter(|got| !got.replayed).count(),
            1,
            "{}",
            ground.name
        );
        assert_eq!(server.times(), 1, "{}", ground.name);
    }
}

/// IDE-2: a repeat gets status, headers and body to the byte, and a mark; what is of one moment is not repeated.
#[tokio::test]
async fn a_repeat_is_the_same_to_the_byte() {
    for ground in Ground::each().await {
        for size in [0, 1, 100_000, 512 << 10] {
            let body: Vec<u8> = (0..size)
                .map(|at: u32| at.wrapping_mul(167).to_le_bytes()[0])
                .collect();
            let given = body.clone();
            let server = Server::new(layer(&ground.store), move |count| {
                let count = count.to_string();
                Response::builder()
                    .status(StatusCode::ACCEPTED)
                    .header("location", "/charges/7")
                    .header("x-count", count)
                    .header("set-cookie", "session=secret")
                    .body(Body::from(given.clone()))
                    .unwrap()
            });
            let key = format!("k{size}");
            let first = server.send(post(&key, "tea")).await;
            let again = server.send(post(&key, "tea")).await;
            assert!(!first.replayed && again.replayed && first.body == body);
            assert_eq!(
                (first.status, &first.body),
                (again.status, &again.body),
                "{}",
                ground.name
            );
            for header in ["location", "x-count"] {
                assert_eq!(first.header(header), again.header(header));
            }
            assert_eq!(
                (first.header("set-cookie"), again.header("set-cookie")),
                (Some("session=secret"), None)
            );
        }
    }
}

/// IDE-2: no key where one is required, and a malformed one, are refused; both were not executed.
#[tokio::test]
async fn a_key_is_asked_for_and_read() {
    let store = Ground::memory().store;
    let plain = || Request::post("/charges").body(Body::empty()).unwrap();
    let server = Server::new(layer(&store), counted);
    assert_eq!(
        (
            server.send(plain()).await.status,
            server.send(plain()).await.replayed
        ),
        (201, false)
    );
    let required = Server::new(layer(&store).required(), counted);
    assert_eq!(
        required.send(plain()).await.problem(),
        (400, "key-missing".into(), "not-executed")
    );
    for server in [&server, &required] {
        for key in ["\"open", "\"a\";p=1, \"b\""] {
            let malformed = server.send(post(key, "")).await;
            assert_eq!(
                malformed.problem(),
                (400, "key-malformed".into(), "not-executed")
            );
        }
    }
    assert_eq!((server.times(), required.times()), (2, 0));
    // Methods that HTTP calls idempotent pass.
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let mut request = post("k", "");
        *request.method_mut() = method;
        assert_eq!(required.send(request).await.status, 201);
    }
    assert_eq!(required.times(), 3);
    assert_eq!(required.send(post("k", "")).await.body, "charge 3");
    assert_eq!(required.send(post("\"k\"", "")).await.body, "charge 3");
}

/// IDE-2: while the first is handled a repeat is told so, and another request is refused.
#[tokio::test]
async fn a_repeat_of_what_runs_is_told_to_come_back() {
    for ground in Ground::each().await {
        let server = Server::new(layer(&ground.store), counted).closed();
        let running = tokio::spawn({
            let server = server.clone();
            async move { server.send(post("k", "tea")).await }
        });
        server.begun(1).await;
        let told = server.send(post("k", "tea")).await;
        assert_eq!(told.problem(), (409, "still-running".into(), "unknown"));
        assert_eq!(told.header("retry-after"), Some("1"), "{}", ground.name);
        let reused = server.send(post("k", "coffee")).await;
        assert_eq!(reused.problem(), (422, "key-reused".into(), "not-executed"));
        server.gate.add_permits(1);
        assert_eq!(running.await.unwrap().body, "charge 0");
        let reused = server.send(post("k", "coffee")).await;
        assert_eq!(reused.problem().1, "key-reused", "{}", ground.name);
        assert!(server.send(post("k", "tea")).await.replayed);
        assert_eq!(server.times(), 1);
    }
}

/// IDE-2: by option a repeat waits for the first one's answer, but not longer than it says.
#[tokio::test(start_paused = true)]
async fn a_repeat_may_wait() {
    let store = Ground::memory().store;
    let server = Server::new(layer(&store).wait(Duration::from_secs(5)), counted).closed();
    let send = || {
        let server = server.clone();
        tokio::spawn(async move { server.send(post("k", "tea")).await })
    };
    let first = send();
    server.begun(1).await;
    assert_eq!(send().await.unwrap().problem().1, "still-running");
    let waits = send();
    server.gate.add_permits(1);
    assert!(!first.await.unwrap().replayed);
    assert!(waits.await.unwrap().replayed);
}

/// IDE-4: a refusal frees the key, for another request too; a failure leaves it open, and the next try runs again.
#[tokio::test]
async fn refusals_free_and_failures_run_again() {
    for ground in Ground::each().await {
        let server = Server::new(layer(&ground.store), |count| match count {
            0 => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            1 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            _ => counted(count),
        });
        assert_eq!(server.send(post("k", "bad")).await.status, 422);
        assert_eq!(ground.keys().await, 0, "{}", ground.name);
        assert_eq!(server.send(post("k", "good")).await.status, 500);
        let reused = server.send(post("k", "bad")).await;
        assert_eq!(reused.problem().1, "key-reused", "{}", ground.name);
        let third = server.send(post("k", "good")).await;
        assert_eq!(
            (third.status, third.replayed),
            (201, false),
            "{}",
            ground.name
        );
        assert!(server.send(post("k", "good")).await.replayed);
        assert_eq!(server.times(), 3);
    }
}

/// IDE-4: a handler may keep a refusal, free a success or leave it open.
#[tokio::test]
async fn a_handler_may_say_otherwise() {
    let store = Ground::memory().store;
    for (settle, status, times) in [
        (Settle::Keep, StatusCode::PAYMENT_REQUIRED, 1),
        (Settle::Keep, StatusCode::INTERNAL_SERVER_ERROR, 1),
        (Settle::Free, StatusCode::OK, 2),
        (Settle::LeaveOpen, StatusCode::OK, 2),
    ] {
        let server = Server::new(layer(&store), move |_| {
            (status, Extension(settle)).into_response()
        });
        let key = format!("{settle:?}{status:?}").replace(' ', "");
        for replayed in [false, times == 1] {
            let got = server.send(post(&key, "")).await;
            assert_eq!((got.status, got.replayed), (status.as_u16(), replayed));
        }
        assert_eq!(server.times(), times, "{settle:?}");
    }
}

/// IDE-4: a response that says its effect is unknown leaves the key open, whatever its status.
#[tokio::test]
async fn an_unknown_effect_leaves_it_open() {
    let store = Ground::memory().store;
    for status in [StatusCode::CONFLICT, StatusCode::OK] {
        let server = Server::new(layer(&store), move |count| match count {
            0 => (status, [("backstay-effect", "unknown")]).into_response(),
            _ => counted(count),
        });
        let key = status.as_str();
        assert_eq!(server.send(post(key, "tea")).await.status, status.as_u16());
        let reused = server.send(post(key, "coffee")).await;
        assert_eq!(reused.problem().1, "key-reused");
        assert_eq!(server.send(post(key, "tea")).await.body, "charge 1");
    }
}

/// IDE-4: a redirect of the request itself frees the key, one to its result is kept.
#[tokio::test]
async fn a_redirect_of_the_request_frees_it() {
    let store = Ground::memory().store;
    for (status, then) in [(307, 201), (308, 201), (302, 302), (303, 303)] {
        let server = Server::new(layer(&store), move |count| match count {
            0 => {
                let status = StatusCode::from_u16(status).unwrap();
                (status, [("location", "/login")]).into_response()
            }
            _ => counted(count),
        });
        let key = status.to_string();
        assert_eq!(server.send(post(&key, "tea")).await.status, status);
        assert_eq!(server.send(post(&key, "tea")).await.status, then);
    }
}

/// IDE-2: a request that is too large is refused, also one that does not say its size.
#[tokio::test]
async fn a_request_has_a_cap() {
    let store = Ground::memory().store;
    let server = Server::new(layer(&store).request_bytes(1_000), counted);
    let streamed = |size| {
        let parts = stream::iter((0..size).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"x"))));
        Body::from_stream(parts)
    };
    for large in [Body::from(vec![0; 1_001]), streamed(1_001)] {
        let refused = server.send(post("k", large)).await;
        assert_eq!(
            refused.problem(),
            (413, "body-too-large".into(), "not-executed")
        );
    }
    assert_eq!(server.times(), 0);
    let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other(
        "gone",
    ))]));
    assert_eq!(
        server.send(post("k", broken)).await.problem().1,
        "body-broken"
    );
    for fits in [Body::from(vec![b'x'; 1_000]), streamed(1_000)] {
        assert_eq!(server.send(post("k", fits)).await.body, "charge 0");
    }
}

/// IDE-2: an answer over the cap is passed on whole, once; a repeat hears that it was handled, and it is not run again.
#[tokio::test]
async fn an_answer_has_a_cap() {
    for ground in Ground::each().await {
        for size in [1_001, 1 << 20] {
            let server = Server::new(layer(&ground.store).answer_bytes(1_000), move |_| {
                let parts = stream::iter(
                    (0..size).map(|at: u32| Ok::<_, Infallible>(vec![at.to_le_bytes()[0]])),
                );
                Body::from_stream(parts).into_response()
            });
            let key = size.to_string();
            let first = server.send(post(&key, "tea")).await;
            assert_eq!((first.status, first.body.len()), (200, size as usize));
            assert!(
                first
                    .body
                    .iter()
                    .zip(0..)
                    .all(|(byte, at): (_, u32)| *byte == at.to_le_bytes()[0])
            );
            let again = server.send(post(&key, "tea")).await;
            assert_eq!(
                again.problem(),
                (409, "answer-not-kept".into(), "executed"),
                "{}",
                ground.name
            );
            assert_eq!(server.times(), 1);
        }
    }
}

/// IDE-2: headers that a value of the store can't hold are no reason to run it again.
#[tokio::test]
async fn headers_that_are_too_large_are_no_reason_to_run_again() {
    let store = Ground::memory().store;
    let server = Server::new(layer(&store), |_| {
        let headers = (0..40).map(|_| ("x-large", "x".repeat(32_000)));
        let mut response = ().into_response();
        for (name, value) in headers {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        response
    });
    assert_eq!(server.send(post("k", "")).await.status, 200);
    assert_eq!(
        server.send(post("k", "")).await.problem().1,
        "answer-not-kept"
    );
    assert_eq!(server.times(), 1);
}

/// IDE-4: a body of the handler's that breaks off leaves the key open.
#[tokio::test]
async fn an_answer_that_breaks_off_leaves_it_open() {
    let store = Ground::memory().store;
    let server = Server::new(layer(&store), |count| {
        if count > 0 {
            return counted(count);
        }
        let parts = [
            Ok(Bytes::from_static(b"half")),
            Err(std::io::Error::other("gone")),
        ];
        Body::from_stream(stream::iter(parts)).into_response()
    });
    let broken = server.send(post("k", "tea")).await;
    assert_eq!(broken.problem(), (500, "answer-broken".into(), "unknown"));
    assert_eq!(server.send(post("k", "tea")).await.body, "charge 1");
}

/// IDE-1: one user never gets another's answer, whatever the key; nor is one route's answer that of another.
#[tokio::test]
async fn answers_are_of_one_principal_and_route() {
    let store = Ground::memory().store;
    let server = Server::new(layer(&store), counted);
    let mut bodies = Vec::new();
    for (path, user) in [
        ("/charges", "a"),
        ("/charges", "b"),
        ("/refunds", "a"),
        ("/charges", ""),
    ] {
        let mut request = post("k", "tea");
        *request.uri_mut() = path.parse().unwrap();
        if !user.is_empty() {
            request
                .headers_mut()
                .insert("authorization", user.parse().unwrap());
        }
        bodies.push(server.send(request).await.body);
    }
    assert_eq!(bodies, ["charge 0", "charge 1", "charge 2", "charge 3"]);
    // By the server's own word two tokens are one user.
    let server = Server::new(
        layer(&store)
            .namespace("own")
            .principal(|_| "alice".to_owned()),
        counted,
    );
    for (token, replayed) in [("a", false), ("b", true)] {
        let mut request = post("k", "tea");
        request
            .headers_mut()
            .insert("authorization", token.parse().unwrap());
        assert_eq!(server.send(request).await.replayed, replayed);
    }
}

/// IDE-1: JSON that is written in another way is the same request, by its content type only.
#[tokio::test]
async fn json_is_the_same_in_any_order() {
    let store = Ground::memory().store;
    let server = Server::new(layer(&store), counted);
    let json = |body: &'static str| {
        let mut request = post("k", body);
        request
            .headers_mut()
            .insert("content-type", "application/json".parse().unwrap());
        request
    };
    assert_eq!(server.send(json(r#"{"a":1,"b":[2]}"#)).await.status, 201);
    assert!(server.send(json(r#"{ "b": [2], "a": 1 }"#)).await.replayed);
    assert_eq!(server.send(json(r#"{"a":1,"b":[3]}"#)).await.status, 422);
    assert_eq!(
        server.send(post("k", r#"{"a":1,"b":[2]}"#)).await.status,
        422
    );
}

/// IDE-1: a record of a newer version is an error, and the handler does not run.
#[tokio::test]
async fn a_newer_record_is_an_error() {
    let store = Ground::memory().store;
    let server = Server::new(layer(&store), counted);
    server.send(post("k", "tea")).await;
    let record = &store.list("", "", 1).await.unwrap()[0];
    for text in [
        r#"{"version":9}"#.to_owned(),
        String::from_utf8(record.value.to_vec())
            .unwrap()
            .replace("\"status\":201", "\"status\":\"odd\""),
    ] {
        let batch = backstay_store::Batch::new().put(&record.key, Put::new(text));
        store.commit(batch).await.unwrap();
        let error = server.send(post("k", "tea")).await;
        assert_eq!(
            error.problem(),
            (500, "record-unreadable".into(), "unknown")
        );
    }
    assert_eq!(server.times(), 1);
}

/// IDE-2: what can't be is refused when the layer is built.
#[test]
fn options_are_checked() {
    let store = Ground::memory().store;
    assert_eq!(
        IdempotencyLayer::new(store.clone()).unwrap_err(),
        BuildError::Volatile
    );
    for (layer, field) in [
        (layer(&store).request_bytes(0), "request_bytes"),
        (layer(&store).answer_bytes(65 << 20), "answer_bytes"),
        (layer(&store).answer_bytes(1 << 20), "value_bytes"),
        (layer(&store).wait(Duration::from_secs(3_601)), "wait"),
        (layer(&store).methods([]), "methods = none"),
    ] {
        let error = layer.build().unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
}
