//! A server that charges once, before a network that loses replies.
//!
//! `cargo run -p backstay-idempotency --example charges`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::future::ready;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use axum::middleware::map_response;
use axum::routing::post;
use axum::{Extension, Router};
use backstay_call::{HttpClassifier, Pipeline};
use backstay_idempotency::{IdempotencyGuard, IdempotencyLayer};
use backstay_store::{Batch, SqliteStore};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("shop.db")).await?;
    let table = "CREATE TABLE charges (id INTEGER PRIMARY KEY)";
    store
        .commit_with(Batch::new(), |rows| rows.execute_batch(table))
        .await?;

    let app = Router::new()
        .route("/charges", post(charge))
        .layer(IdempotencyLayer::new(store.clone())?)
        .layer(map_response(losing))
        .with_state(store.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/charges", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());

    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let payments = Pipeline::builder("payments")
        .build()?
        .classified(HttpClassifier);
    let call = payments.call_keyed("order-7", |attempt| {
        let mut request = Request::new(Body::from("tea"));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = url.parse().expect("made above");
        attempt.apply(request.headers_mut());
        client.request(request)
    });
    let report = call.report().await;
    for attempt in report.attempts() {
        println!("attempt {}: {:?}", attempt.number, attempt.outcome);
    }
    let response = report.result?;
    println!("{} {:?}", response.status(), response.headers());
    let body = response.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&body));

    let count = "SELECT count(*) FROM charges";
    let charges = store
        .commit_with(Batch::new(), |rows| {
            rows.query_row(count, [], |row| row.get::<_, i64>(0))
        })
        .await?;
    println!("charges: {:?}", charges.output);
    Ok(())
}

/// The row and the answer are one commit.
async fn charge(
    State(store): State<SqliteStore>,
    Extension(guard): Extension<IdempotencyGuard>,
) -> Result<Response<Body>, StatusCode> {
    let answer = Response::new("charged");
    let batch = guard
        .answer_in(Batch::new(), &answer)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let insert = "INSERT INTO charges DEFAULT VALUES";
    store
        .commit_with(batch, |rows| rows.execute(insert, []))
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(answer.map(Body::from))
}

/// The first two replies never arrive: their connections end.
fn losing(reply: Response<Body>) -> std::future::Ready<Response<Body>> {
    static REPLIES: AtomicU32 = AtomicU32::new(0);
    if REPLIES.fetch_add(1, Relaxed) < 2 {
        std::panic::resume_unwind(Box::new("lost"));
    }
    ready(reply)
}
