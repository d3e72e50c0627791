//! A reqwest client: its responses classified as HTTP, each attempt with the headers that tell the server about it.
//!
//! `cargo run -p backstay-call --features http --example reqwest_client`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use backstay_call::{Attempt, HttpClassifier, Pipeline};
use reqwest::Response;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/price", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, Router::new().route("/price", get(price))).into_future());

    let client = reqwest::Client::new();
    let prices = Pipeline::builder("prices").build()?;
    let prices = prices.classified(|answer: &Result<Response, reqwest::Error>| match answer {
        Ok(response) => HttpClassifier::response(response.status(), response.headers()),
        Err(error) => HttpClassifier::error(error),
    });
    let get = async |attempt: Attempt| client.get(&url).headers(attempt.headers()).send().await;
    let response = prices.call_idempotent(get).await?;
    println!("{}: {}", response.status(), response.text().await?);
    Ok(())
}

/// Answers with the time that its caller still waits.
async fn price(headers: HeaderMap) -> String {
    format!("700, asked for within {:?}", headers.get("grpc-timeout"))
}
