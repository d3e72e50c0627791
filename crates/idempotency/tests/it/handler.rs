//! Handlers that commit their answer themselves, that go away, and that come late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::post as to;
use axum::{Extension, Router};
use backstay_idempotency::{AnswerError, IdempotencyGuard, IdempotencyLayer};
use backstay_store::{Append, Batch, Event, Store, Version};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tower::ServiceExt;

use crate::ground::{A_MINUTE, Ground, soon, until};
use crate::http::{Got, Server, got, layer, post};

async fn send(app: &Router, request: Request<Body>) -> Got {
    got(app.clone().oneshot(request).await.unwrap()).await
}

/// Sends until the run of the one before is given up.
async fn send_at_last(server: &Server) -> Got {
    soon(async {
        loop {
            let got = server.send(post("k", "tea")).await;
            if got.status != 409 {
                return got;
            }
            yield_now().await;
        }
    })
    .await
}

fn kept() -> http::Response<&'static str> {
    let answer = http::Response::builder()
        .status(201)
        .header("location", "/7");
    answer.body("kept").unwrap()
}

fn charge(guard: &IdempotencyGuard) -> Batch {
    let batch = Batch::new().append("charges", Append::new(Event::new("charged", "")));
    guard.answer_in(batch, &kept()).unwrap()
}

async fn charges(store: &Store) -> usize {
    store
        .read("charges", Version::START, 100)
        .await
        .unwrap()
        .len()
}

/// IDE-3: an answer that the handler commits with what it changes is what is sent, then and later, whatever it returns.
#[tokio::test]
async fn a_handler_commits_its_answer_with_its_changes() {
    for ground in Ground::each().await {
        for returned in [
            StatusCode::CREATED,
            StatusCode::INTERNAL_SERVER_ERROR,
            StatusCode::BAD_REQUEST,
        ] {
            let before = charges(&ground.store).await;
            let store = ground.store.clone();
            let handler = async move |Extension(guard): Extension<IdempotencyGuard>| {
                assert_eq!(guard.key(), returned.as_str());
                store.commit(charge(&guard)).await.unwrap();
                returned
            };
            let app = Router::new()
                .route("/charges", to(handler))
                .layer(layer(&ground.store).build().unwrap());
            for replayed in [false, true] {
                let got = send(&app, post(returned.as_str(), "tea")).await;
                assert_eq!(
                    (got.status, &got.body[..], got.replayed),
                    (201, &b"kept"[..], replayed),
                    "{}",
                    ground.name
                );
                assert_eq!(got.header("location"), Some("/7"));
            }
            assert_eq!(charges(&ground.store).await, before + 1, "{}", ground.name);
        }
    }
}

/// IDE-2, IDE-3: with an answer that was committed the first caller gets the headers of the live response as well, but for
/// those of another body; a repeat gets what is kept.
#[tokio::test]
async fn the_first_answer_has_the_headers_around_it() {
    let store = Ground::memory().store;
    let commits = store.clone();
    let handler = async move |Extension(guard): Extension<IdempotencyGuard>| -> Response {
        commits.commit(charge(&guard)).await.unwrap();
        let headers = [
            ("set-cookie", "session=1"),
            ("set-cookie", "theme=2"),
            ("location", "/other"),
            ("content-encoding", "gzip"),
            ("content-type", "text/odd"),
            ("backstay-effect", "unknown"),
        ];
        let mut response = (StatusCode::BAD_GATEWAY, "another body").into_response();
        for (name, value) in headers {
            let value = value.parse().unwrap();
            response.headers_mut().append(name, value);
        }
        response
    };
    let allow = map_response(async |mut response: Response| {
        let origin = "https://shop".parse().unwrap();
        let headers = response.headers_mut();
        headers.insert("access-control-allow-origin", origin);
        response
    });
    let app = Router::new()
        .route("/charges", to(handler))
        .layer(allow)
        .layer(layer(&store).build().unwrap());
    for is_first in [true, false] {
        let got = send(&app, post("k", "tea")).await;
        assert_eq!((got.status, &got.body[..]), (201, &b"kept"[..]));
        assert_eq!(got.replayed, !is_first);
        for (name, value) in [
            ("location", Some("/7")),
            ("set-cookie", Some("session=1").filter(|_| is_first)),
            (
                "access-control-allow-origin",
                Some("https://shop").filter(|_| is_first),
            ),
            ("content-encoding", None),
            ("content-type", None),
            ("backstay-effect", None),
        ] {
            assert_eq!(got.header(name), value, "{name}");
        }
    }
}

/// IDE-3, IDE-4: a batch that was not committed keeps no answer: what the handler returns counts.
#[tokio::test]
async fn an_answer_that_was_not_committed_is_none() {
    let store = Ground::memory().store;
    let count = Arc::new(AtomicU32::new(0));
    let handler = async move |Extension(guard): Extension<IdempotencyGuard>| {
        drop(charge(&guard));
        match count.fetch_add(1, SeqCst) {
            0 => (StatusCode::SERVICE_UNAVAILABLE, "no"),
            _ => (StatusCode::OK, "yes"),
        }
    };
    let app = Router::new()
        .route("/charges", to(handler))
        .layer(layer(&store).build().unwrap());
    for (status, replayed) in [(503, false), (200, false), (200, true)] {
        let got = send(&app, post("k", "tea")).await;
        assert_eq!((got.status, got.replayed), (status, replayed));
    }
    assert_eq!(charges(&store).await, 0);
}

/// IDE-2: an answer that is too large for a batch is refused with its size.
#[tokio::test]
async fn a_large_answer_is_no_part_of_a_batch() {
    let store = Ground::memory().store;
    let handler = async |Extension(guard): Extension<IdempotencyGuard>| {
        let answer = http::Response::new(vec![0; 11]);
        let refused = guard.answer_in(Batch::new(), &answer).unwrap_err();
        assert_eq!(refused, AnswerError::TooLarge { size: 11, cap: 10 });
        "small"
    };
    let app = Router::new()
        .route("/charges", to(handler))
        .layer(layer(&store).answer_bytes(10).build().unwrap());
    assert_eq!(send(&app, post("k", "")).await.status, 200);
}

/// IDE-3: a handler that was taken over while it stalled changes nothing, and its caller is told what counts.
#[tokio::test]
async fn a_stalled_handler_is_taken_over() {
    for ground in Ground::each().await {
        let (begun, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
        let (begins, waits, store) = (begun.clone(), gate.clone(), ground.store.clone());
        let handler = async move |Extension(guard): Extension<IdempotencyGuard>| -> Response {
            let number = begins.fetch_add(1, SeqCst);
            if number == 0 {
                waits.acquire().await.unwrap().forget();
            }
            match store.commit(charge(&guard)).await {
                Ok(_) => StatusCode::CREATED.into_response(),
                Err(_) => (StatusCode::OK, "mine").into_response(),
            }
        };
        let app = Router::new()
            .route("/charges", to(handler))
            .layer(layer(&ground.store).build().unwrap());
        let stalled = tokio::spawn({
            let app = app.clone();
            async move { send(&app, post("k", "tea")).await }
        });
        until(async || begun.load(SeqCst) > 0).await;
        ground.clock.advance(A_MINUTE);
        let second = send(&app, post("k", "tea")).await;
        assert_eq!(
            (&second.body[..], second.replayed),
            (&b"kept"[..], false),
            "{}",
            ground.name
        );
        gate.add_permits(1);
        let first = stalled.await.unwrap();
        assert_eq!(
            (&first.body[..], first.replayed),
            (&b"kept"[..], true),
            "{}",
            ground.name
        );
        assert_eq!(
            (charges(&ground.store).await, begun.load(SeqCst)),
            (1, 2),
            "{}",
            ground.name
        );
    }
}

/// IDE-3: who answers late without a batch of its own is told what counts too, or that somebody else is at it.
#[tokio::test]
async fn a_late_answer_is_not_the_one_that_counts() {
    for ground in Ground::each().await {
        let server = Server::new(layer(&ground.store), |count| {
            format!("charge {count}").into_response()
        })
        .closed();
        let start = || {
            let server = server.clone();
            tokio::spawn(async move { server.send(post("k", "tea")).await })
        };
        let first = start();
        server.begun(1).await;
        ground.clock.advance(A_MINUTE);
        let second = start();
        server.begun(2).await;
        // The gate is fair: this is the first one's.
        server.gate.add_permits(1);
        let late = first.await.unwrap();
        assert_eq!(
            late.problem(),
            (409, "taken-over".into(), "unknown"),
            "{}",
            ground.name
        );
        server.gate.add_permits(1);
        assert_eq!(second.await.unwrap().body, "charge 1");
        let again = server.send(post("k", "tea")).await;
        assert_eq!(
            (&again.body[..], again.replayed),
            (&b"charge 1"[..], true),
            "{}",
            ground.name
        );
    }
}

/// IDE-3: a caller that hangs up, and a handler that panics, leave the key open, and the next try runs at once.
#[tokio::test]
async fn hanging_up_and_panics_leave_it_open() {
    for ground in Ground::each().await {
        let server = Server::new(layer(&ground.store), |count| match count {
            1 => std::panic::resume_unwind(Box::new("boom")),
            _ => format!("charge {count}").into_response(),
        })
        .closed();
        let start = || {
            let server = server.clone();
            tokio::spawn(async move { send_at_last(&server).await })
        };
        let gone = start();
        server.begun(1).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        server.gate.add_permits(2);
        assert!(start().await.unwrap_err().is_panic());
        let third = start().await.unwrap();
        assert_eq!(
            (&third.body[..], third.replayed),
            (&b"charge 2"[..], false),
            "{}",
            ground.name
        );
        let other = server.send(post("k", "coffee")).await;
        assert_eq!(other.problem().1, "key-reused", "{}", ground.name);
    }
}

/// IDE-2: where two layers are around a route the outer one works, and its repeats are not refused by the inner one.
#[tokio::test]
async fn a_layer_in_a_layer_lets_pass() {
    let store = Ground::memory().store;
    let layer = |store: &Store| -> IdempotencyLayer { layer(store).build().unwrap() };
    let route = to(async || "charged").layer(layer(&store));
    let app = Router::new().route("/charges", route).layer(layer(&store));
    for replayed in [false, true] {
        let got = send(&app, post("k", "tea")).await;
        assert_eq!((got.status, got.replayed), (200, replayed));
    }
}
