//! A route that charges, over real connections: bare, and done once for each key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Result, ensure};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use backstay::idempotency::{IdempotencyGuard, IdempotencyLayer};
use backstay::store::{Batch, Event, SqliteStore, Store};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

use super::{DATA, KIND, runtime};
use crate::store::Ground;
use crate::store::load::{self, Sample, Window};

/// What is asked of which route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// It commits nothing.
    Bare,
    /// It commits one event.
    Commits,
    /// The same once for each key, and each key is new.
    First,
    /// The same, and each key was used before.
    Replayed,
}

const ANSWER: &str = "charged";

pub(super) fn visit(
    ground: &Ground,
    route: Route,
    committers: usize,
    window: Window,
) -> Result<Sample> {
    let folder = tempfile::tempdir_in(ground.folder.path())?;
    runtime()?.block_on(async {
        let store = SqliteStore::open(folder.path().join("store.db"))
            .await?
            .store();
        let address = serve(store, route).await?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let next = Arc::new(AtomicU64::new(0));
        if route == Route::Replayed {
            for committer in 0..committers {
                ask(&client, address, committer as u64, false).await?;
            }
        }
        let request = move |committer: usize| {
            let (client, next) = (client.clone(), next.clone());
            async move {
                let key = match route {
                    Route::Replayed => committer as u64,
                    _ => next.fetch_add(1, Relaxed),
                };
                ask(&client, address, key, route == Route::Replayed).await
            }
        };
        load::tasks(committers, window, request).await
    })
}

async fn serve(store: Store, route: Route) -> Result<SocketAddr> {
    let app = match route {
        Route::Bare => Router::new().route("/charges", post(async || ANSWER)),
        Route::Commits => Router::new().route("/charges", post(commit)),
        Route::First | Route::Replayed => Router::new()
            .route("/charges", post(commit_once))
            .layer(IdempotencyLayer::new(store.clone())?),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, app.with_state(store)).into_future());
    Ok(address)
}

async fn commit(State(store): State<Store>) -> Result<&'static str, StatusCode> {
    let charged = Batch::new().append("charges", Event::new(KIND, DATA));
    let committed = store.commit(charged).await;
    committed.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(ANSWER)
}

/// The event and the answer are one commit.
async fn commit_once(
    State(store): State<Store>,
    Extension(guard): Extension<IdempotencyGuard>,
) -> Result<Response, StatusCode> {
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    let charged = Batch::new().append("charges", Event::new(KIND, DATA));
    let answer = Response::new(Body::from(ANSWER));
    let charged = guard
        .answer_in(charged, &Response::new(ANSWER))
        .map_err(failed)?;
    store
        .commit(charged)
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(answer.into_response())
}

async fn ask(
    client: &Client<HttpConnector, Body>,
    address: SocketAddr,
    key: u64,
    is_replayed: bool,
) -> Result<()> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{address}/charges"))
        .header("idempotency-key", format!("\"order-{key}\""))
        .body(Body::from(DATA))?;
    let response = client.request(request).await?;
    let replayed = response.headers().contains_key("idempotency-replayed");
    ensure!(
        response.status() == StatusCode::OK,
        "answered {}",
        response.status()
    );
    ensure!(
        replayed == is_replayed,
        "order {key}: replayed is {replayed}"
    );
    response.into_body().collect().await?;
    Ok(())
}
