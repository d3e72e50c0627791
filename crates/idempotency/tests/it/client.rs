//! Our own client before our own server, over real sockets.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use backstay_call::{Admission, BudgetOptions, HttpClassifier, Pipeline, Retry};
use backstay_idempotency::{IdempotencyGuard, IdempotencyLayer};
use backstay_store::{Append, Batch, Event, Store, Version};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::ground::Ground;
use crate::http::{Server, got, layer, post as to_charges};

async fn charge(
    State(store): State<Store>,
    Extension(guard): Extension<IdempotencyGuard>,
) -> Response {
    let answer = http::Response::builder()
        .status(201)
        .body("receipt 1")
        .unwrap();
    let event = Append::new(Event::new("charged", guard.key().to_owned()));
    let batch = Batch::new().append("charges", event);
    let batch = guard.answer_in(batch, &answer).unwrap();
    match store.commit(batch).await {
        Ok(_) => answer.map(Body::from),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    format!("http://{address}/charges")
}

fn pipeline() -> Pipeline {
    Pipeline::builder("payments")
        .deadline(Duration::from_secs(60))
        .retry(Retry::exponential(Duration::from_millis(1)).max_attempts(5))
        .budget(BudgetOptions::default().ratio(10.0))
        .build()
        .unwrap()
}

/// IDE-2, IDE-3: replies that are lost after the commit: our client asks again, gets the kept answer, and it happened once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_cost_nothing() -> Result<(), Box<dyn Error>> {
    for ground in Ground::each().await {
        let lost = Arc::new(AtomicU32::new(0));
        let losing = lost.clone();
        let admission = Admission::builder().build()?;
        let app = Router::new()
            .route("/charges", post(charge))
            .layer(
                IdempotencyLayer::builder(ground.store.clone())
                    .allow_volatile()
                    .required()
                    .build()?,
            )
            .layer(admission.layer())
            .layer(map_response(move |reply: Response| {
                // The connection ends with it.
                if losing.fetch_add(1, SeqCst) < 3 {
                    std::panic::resume_unwind(Box::new("the reply is lost"));
                }
                std::future::ready(reply)
            }))
            .with_state(ground.store.clone());
        let url = serve(app).await;
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let payments = pipeline().classified(HttpClassifier);
        let answer = payments
            .call_keyed("order \"7\"", |attempt| {
                let mut request = Request::post(&url).body(Body::from("tea")).unwrap();
                attempt.apply(request.headers_mut());
                client.request(request)
            })
            .await?;
        assert_eq!(
            (answer.status(), lost.load(SeqCst)),
            (StatusCode::CREATED, 4),
            "{}",
            ground.name
        );
        assert_eq!(answer.headers()["idempotency-replayed"], "true");
        assert_eq!(answer.into_body().collect().await?.to_bytes(), "receipt 1");
        let charges = ground.store.read("charges", Version::START, 10).await?;
        assert_eq!(charges.len(), 1, "{}", ground.name);
        assert_eq!(charges[0].data, "order \"7\"");
    }
    Ok(())
}

/// IDE-2, CALL-2: our client comes back for the answer of an earlier attempt that still runs.
#[tokio::test(start_paused = true)]
async fn a_running_attempt_is_waited_for() -> Result<(), Box<dyn Error>> {
    let store = Ground::memory().store;
    let handler = |count: u32| format!("receipt {count}").into_response();
    let server = Server::new(layer(&store), handler).closed();
    let earlier = tokio::spawn({
        let server = server.clone();
        async move { server.send(to_charges("k", "tea")).await }
    });
    server.begun(1).await;
    let payments = pipeline().classified(HttpClassifier);
    let report = payments
        .call_keyed("k", |attempt| {
            let mut request = Request::post("/charges").body(Body::from("tea")).unwrap();
            attempt.apply(request.headers_mut());
            let (app, gate, number) = (server.app.clone(), server.gate.clone(), attempt.number());
            async move {
                let answer = app.oneshot(request).await;
                if number == 1 {
                    gate.add_permits(1);
                }
                answer
            }
        })
        .report()
        .await;
    assert_eq!(report.attempts().len(), 2);
    let answer = got(report.result?).await;
    assert_eq!(
        (&answer.body[..], answer.replayed),
        (&b"receipt 0"[..], true)
    );
    assert_eq!((earlier.await?.replayed, server.times()), (false, 1));
    Ok(())
}
