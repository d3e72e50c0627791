//! The service that gives keys and revokes them. One that is revoked is not there any more.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use backstay::replica::Feed;
use backstay::store::{Batch, Expected, SqliteStore, Store};
use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use crate::saga::http::{Failed, post as send};

const PREFIX: &str = "keys/";
/// More than any run has.
const ALL: u32 = 1_000;

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(folder: &Path, tell: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let store = SqliteStore::open(folder.join("authority.db"))
        .await?
        .store();
    let app = Router::new()
        .route("/give", post(give))
        .route("/revoke", post(revoke))
        .route("/one", post(one))
        .route("/all", post(all))
        .route_service("/feed", Feed::new(store.clone(), PREFIX))
        .with_state(store);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// Each key belongs to a customer, who has a number.
async fn give(State(store): State<Store>, body: Bytes) -> Result<(), Failed> {
    let keys: Vec<String> = serde_json::from_slice(&body)?;
    let put = |batch: Batch, (customer, key): (usize, &String)| {
        batch.put(format!("{PREFIX}{key}"), customer.to_string())
    };
    let batch = keys.iter().enumerate().fold(Batch::new(), put);
    store.commit(batch).await?;
    Ok(())
}

/// Answered when it is committed.
async fn revoke(State(store): State<Store>, body: Bytes) -> Result<(), Failed> {
    let key: String = serde_json::from_slice(&body)?;
    let batch = Batch::new().delete(format!("{PREFIX}{key}"), Expected::Any);
    store.commit(batch).await?;
    Ok(())
}

async fn one(State(store): State<Store>, body: Bytes) -> Result<Vec<u8>, Failed> {
    let key: String = serde_json::from_slice(&body)?;
    let entry = store.get(&format!("{PREFIX}{key}")).await?;
    let customer = entry.map(|entry| serde_json::from_slice::<u32>(&entry.value));
    Ok(serde_json::to_vec(&customer.transpose()?)?)
}

async fn all(State(store): State<Store>) -> Result<Vec<u8>, Failed> {
    let mut keys = HashMap::new();
    for entry in store.list(PREFIX, "", ALL).await? {
        let key = entry.key.strip_prefix(PREFIX).unwrap_or(&entry.key);
        keys.insert(key.to_owned(), serde_json::from_slice(&entry.value)?);
    }
    let keys: HashMap<String, u32> = keys;
    Ok(serde_json::to_vec(&keys)?)
}

/// The authority as others see it. Each question waits for its answer for as long as it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority(pub(crate) SocketAddr);

impl Authority {
    pub(crate) async fn give(self, keys: &[String]) -> anyhow::Result<()> {
        self.ask("give", keys).await.map(drop)
    }

    pub(crate) async fn revoke(self, key: &str) -> anyhow::Result<()> {
        self.ask("revoke", key).await.map(drop)
    }

    /// Whose key it is; none if there is no such key.
    pub(crate) async fn one(self, key: &str) -> anyhow::Result<Option<u32>> {
        read(&self.ask("one", key).await?)
    }

    pub(super) async fn all(self) -> anyhow::Result<HashMap<String, u32>> {
        read(&self.ask("all", &()).await?)
    }

    async fn ask<Q: Serialize + ?Sized>(self, what: &str, asked: &Q) -> anyhow::Result<Bytes> {
        let answer = send(self.0, what, HeaderMap::new(), &asked).await?;
        let status = answer.status();
        anyhow::ensure!(status == StatusCode::OK, "answered {status}");
        Ok(answer.into_body())
    }
}

fn read<A: DeserializeOwned>(answer: &Bytes) -> anyhow::Result<A> {
    Ok(serde_json::from_slice(answer)?)
}
