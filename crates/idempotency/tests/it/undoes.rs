//! The `Backstay-Undoes` header around handlers, without a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post as to};
use axum::{Extension, Router};
use backstay_idempotency::{IdempotencyLayerBuilder, Undoes};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tower::ServiceExt;

use crate::ground::{A_MINUTE, Ground, soon, until};
use crate::http::{Got, got, layer, post};

/// Charges, and refunds that answer what they are told of the charge.
#[derive(Clone)]
struct Bank {
    app: Router,
    charges: Arc<AtomicU32>,
    refunds: Arc<AtomicU32>,
    /// A charge ends when there is a permit.
    gate: Arc<Semaphore>,
}

impl Bank {
    fn new(layer: IdempotencyLayerBuilder) -> Self {
        Self::charging(layer, || (StatusCode::CREATED, "charge 7").into_response())
    }

    fn charging(
        layer: IdempotencyLayerBuilder,
        charge: impl Fn() -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let (charges, refunds) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let gate = Arc::new(Semaphore::new(1_000));
        let (counts, waits) = (charges.clone(), gate.clone());
        let charge = async move || {
            counts.fetch_add(1, SeqCst);
            waits.acquire().await.unwrap().forget();
            charge()
        };
        let counts = refunds.clone();
        let refund = async move |Extension(charge): Extension<Undoes>| {
            counts.fetch_add(1, SeqCst);
            match charge {
                Undoes::Done(Some(answer)) => {
                    format!("{} {:?}", answer.status().as_u16(), answer.body())
                }
                known => format!("{known:?}"),
            }
        };
        let app = Router::new()
            .route("/charges", to(charge))
            .route("/refunds", any(refund))
            .layer(layer.build().unwrap());
        Self {
            app,
            charges,
            refunds,
            gate,
        }
    }

    async fn send(&self, request: Request<Body>) -> Got {
        got(self.app.clone().oneshot(request).await.unwrap()).await
    }

    async fn charge(&self) -> Got {
        self.send(post("charge", "tea")).await
    }

    async fn refund(&self) -> Got {
        self.send(undo("refund", "\"charge\"")).await
    }

    fn times(&self) -> (u32, u32) {
        (self.charges.load(SeqCst), self.refunds.load(SeqCst))
    }
}

fn undo(key: &str, undoes: &str) -> Request<Body> {
    let request = Request::post("/refunds")
        .header("idempotency-key", key)
        .header("backstay-undoes", undoes);
    request.body(Body::empty()).unwrap()
}

/// SAG-4: an undo is told the answer of what it undoes, once; after it a late repeat of that is gone.
#[tokio::test]
async fn an_undo_is_told_what_was_done() {
    for ground in Ground::each().await {
        let bank = Bank::new(layer(&ground.store).undoable());
        assert_eq!(bank.charge().await.body, "charge 7");
        assert!(bank.charge().await.replayed);
        for replayed in [false, true] {
            let refund = bank.refund().await;
            assert_eq!(
                (&refund.body[..], refund.replayed),
                (&b"201 b\"charge 7\""[..], replayed),
                "{}",
                ground.name
            );
            let late = bank.charge().await;
            assert_eq!(late.problem(), (410, "withdrawn".into(), "unknown"));
        }
        // The same charge, and an undo with another key.
        let again = bank.send(undo("other", "charge")).await;
        assert_eq!(again.body, "201 b\"charge 7\"", "{}", ground.name);
        assert_eq!(bank.times(), (1, 2), "{}", ground.name);
    }
}

/// SAG-4: a forward request that comes after its undo is gone, and nothing has happened.
#[tokio::test]
async fn a_late_forward_request_is_gone() {
    for ground in Ground::each().await {
        let bank = Bank::new(layer(&ground.store).undoable());
        assert_eq!(bank.refund().await.body, "Unseen", "{}", ground.name);
        for body in ["tea", "coffee"] {
            let late = bank.send(post("charge", body)).await;
            assert_eq!(late.problem(), (410, "withdrawn".into(), "not-executed"));
        }
        assert_eq!(bank.times(), (0, 1), "{}", ground.name);
        // It is of one principal only.
        let mut request = post("charge", "tea");
        let headers = request.headers_mut();
        headers.insert("authorization", "bob".parse().unwrap());
        assert_eq!(bank.send(request).await.status, 201, "{}", ground.name);
    }
}

/// SAG-4: a request that failed is unknown to its undo, one that was refused is unseen.
#[tokio::test]
async fn an_undo_is_told_how_it_failed() {
    for ground in Ground::each().await {
        for (status, known, effect) in
            [(500, "Unknown", "unknown"), (402, "Unseen", "not-executed")]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let namespaced = layer(&ground.store).namespace(status.as_str()).undoable();
            let bank = Bank::charging(namespaced, move || status.into_response());
            assert_eq!(bank.charge().await.status, status.as_u16());
            assert_eq!(bank.refund().await.body, known, "{}", ground.name);
            let late = bank.charge().await;
            assert_eq!(late.problem(), (410, "withdrawn".into(), effect));
        }
    }
}

/// SAG-4: an undo of what is being handled is told to come back, and its own key is free until then.
#[tokio::test]
async fn an_undo_of_what_runs_is_told_to_come_back() {
    for ground in Ground::each().await {
        let bank = Bank::new(layer(&ground.store).undoable());
        bank.gate.forget_permits(1_000);
        let running = tokio::spawn({
            let bank = bank.clone();
            async move { bank.charge().await }
        });
        until(async || bank.times().0 == 1).await;
        for _ in 0..2 {
            let told = bank.refund().await;
            assert_eq!(told.problem(), (409, "undone-running".into(), "unknown"));
            assert_eq!(told.header("retry-after"), Some("1"), "{}", ground.name);
        }
        bank.gate.add_permits(1);
        assert_eq!(running.await.unwrap().body, "charge 7");
        let refund = bank.refund().await;
        assert_eq!(refund.body, "201 b\"charge 7\"", "{}", ground.name);
        assert_eq!(bank.times(), (1, 1), "{}", ground.name);
    }
}

/// SAG-4: a handler that stalled is withdrawn by the undo, and its late answer is not given as done.
#[tokio::test]
async fn a_stalled_handler_is_withdrawn() {
    for ground in Ground::each().await {
        let bank = Bank::new(layer(&ground.store).undoable());
        bank.gate.forget_permits(1_000);
        let stalled = tokio::spawn({
            let bank = bank.clone();
            async move { bank.charge().await }
        });
        until(async || bank.times().0 == 1).await;
        ground.clock.advance(A_MINUTE);
        assert_eq!(bank.refund().await.body, "Unknown", "{}", ground.name);
        bank.gate.add_permits(1);
        let late = stalled.await.unwrap();
        assert_eq!(late.problem(), (410, "withdrawn".into(), "unknown"));
        assert_eq!(bank.charge().await.problem().1, "withdrawn");
        assert_eq!(bank.times(), (1, 1), "{}", ground.name);
    }
}

/// SAG-4: requests and undos at once: the undo is told that it was done, or the request is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_done_or_gone() {
    for ground in Ground::each().await {
        for round in 0..30 {
            let namespaced = layer(&ground.store).namespace(round.to_string());
            let bank = Bank::new(namespaced.undoable());
            let charge = tokio::spawn({
                let bank = bank.clone();
                async move { bank.charge().await }
            });
            let refund = soon(async {
                loop {
                    let refund = bank.refund().await;
                    if refund.status != 409 {
                        return refund;
                    }
                    yield_now().await;
                }
            });
            let refund = refund.await;
            let charge = charge.await.unwrap();
            let (known, times) = match charge.status {
                201 => ("201 b\"charge 7\"", (1, 1)),
                410 => ("Unseen", (0, 1)),
                other => panic!("{other}"),
            };
            assert_eq!(refund.body, known, "{}", ground.name);
            assert_eq!(bank.times(), times, "{}", ground.name);
        }
    }
}

/// SAG-4: a header that can't be read, or followed, is refused before anything runs or is withdrawn.
#[tokio::test]
async fn a_malformed_undo_is_refused() {
    let store = Ground::memory().store;
    let bank = Bank::new(layer(&store).undoable());
    for undoes in ["", "\"\"", "\"open", "a, b", "\"a\", \"b\"", "\"ü\""] {
        let mut request = undo("refund", "x");
        let value = http::HeaderValue::from_bytes(undoes.as_bytes()).unwrap();
        request.headers_mut().insert("backstay-undoes", value);
        let malformed = bank.send(request).await;
        assert_eq!(
            malformed.problem(),
            (400, "undoes-malformed".into(), "not-executed"),
            "{undoes}"
        );
    }
    let mut twice = undo("refund", "charge");
    let value = "charge".parse().unwrap();
    twice.headers_mut().append("backstay-undoes", value);
    assert_eq!(bank.send(twice).await.problem().1, "undoes-malformed");
    let mut keyless = undo("refund", "charge");
    keyless.headers_mut().remove("idempotency-key");
    assert_eq!(bank.send(keyless).await.problem().1, "key-missing");
    let itself = bank.send(undo("\"charge\"", "charge")).await;
    assert_eq!(itself.problem(), (422, "key-reused".into(), "not-executed"));
    let plain = Bank::new(layer(&store).namespace("plain"));
    let refused = plain.refund().await;
    assert_eq!(
        refused.problem(),
        (501, "undo-not-offered".into(), "not-executed")
    );
    assert_eq!((bank.times(), plain.times()), ((0, 0), (0, 0)));
    assert!(store.list("", "", 1).await.unwrap().is_empty());
}

/// SAG-4: an undo of another request, or by another method, is followed; of another request under its key it is refused.
#[tokio::test]
async fn an_undo_is_looked_at_whatever_its_method() {
    let bank = Bank::new(layer(&Ground::memory().store).undoable());
    bank.charge().await;
    let delete = |undoes| {
        let mut request = undo("refund", undoes);
        *request.method_mut() = http::Method::DELETE;
        request
    };
    let refund = bank.send(delete("charge")).await;
    assert_eq!(refund.body, "201 b\"charge 7\"");
    assert!(bank.send(delete("charge")).await.replayed);
    assert_eq!(bank.charge().await.status, 410);
    let reused = bank.send(delete("other")).await;
    assert_eq!(reused.problem().1, "key-reused");
    let other = bank.send(post("other", "tea")).await;
    assert_eq!(other.status, 201, "nothing was withdrawn for it");
}

/// SAG-4: of an answer that was too large to keep the undo is told that it was done.
#[tokio::test]
async fn an_undo_of_a_large_answer_is_told_that_it_was_done() {
    let store = Ground::memory().store;
    let bank = Bank::new(layer(&store).answer_bytes(3).undoable());
    assert_eq!(bank.charge().await.body, "charge 7");
    assert_eq!(bank.refund().await.body, "Done(None)");
    assert_eq!(bank.charge().await.status, 410);
}
