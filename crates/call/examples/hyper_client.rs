//! A hyper client whose requests are calls of a pipeline.
//!
//! `cargo run -p backstay-call --features http --example hyper_client`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use backstay_call::Pipeline;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, Router::new().route("/price", get(price))).into_future());

    let prices = Pipeline::builder("prices").build()?;
    let mut client = ServiceBuilder::new()
        .layer(prices.http())
        .service(Client::builder(TokioExecutor::new()).build_http());

    let request = Request::get(format!("http://{address}/price")).body(Empty::<Bytes>::new())?;
    let report = client.call(request).report().await;
    for attempt in report.attempts() {
        println!(
            "attempt {}: {:?} after {:?}",
            attempt.number, attempt.outcome, attempt.took
        );
    }
    let response = report.result?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    println!("{status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// Fails at its first request.
async fn price() -> (StatusCode, &'static str) {
    static REQUESTS: AtomicU32 = AtomicU32::new(0);
    match REQUESTS.fetch_add(1, Relaxed) {
        0 => (StatusCode::BAD_GATEWAY, "not yet"),
        _ => (StatusCode::OK, "700"),
    }
}
