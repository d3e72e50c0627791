//! The process that places orders with the participants.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::bail;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use backstay::saga::{Engine, Settled};
use backstay::store::SqliteStore;
use tokio::net::TcpListener;

use super::article::{call_in_a_row, place_order};
use super::backstay::{self as ours, PlaceOrder};
use super::gate::Gate;
use super::order::Order;
use super::remote::Remote;
use super::{Arm, Way};

/// How this one places orders.
#[derive(Clone)]
enum Desk {
    None(Remote),
    Article(Remote),
    Saga(Engine<Remote>, PlaceOrder),
}

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(
    arm: Arm,
    folder: &Path,
    gate: Gate,
    tell: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let remote = Remote::new(gate);
    let desk = match arm.way {
        Way::None => Desk::None(remote),
        Way::Article => Desk::Article(remote),
        Way::NoKey | Way::Backstay => {
            let store = SqliteStore::open(folder.join("sagas.db")).await?;
            let saga = ours::place_order()?;
            let engine = Engine::builder(store.store(), remote).run(&saga);
            Desk::Saga(engine.start().await?, saga)
        }
    };
    let app = Router::new().route("/orders", post(place)).with_state(desk);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// 201 says that the order is placed, 409 that it is not, and all else that it is not known.
async fn place(State(desk): State<Desk>, body: Bytes) -> StatusCode {
    let Ok(order) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    match desk.place(order).await {
        Ok(true) => StatusCode::CREATED,
        Ok(false) => StatusCode::CONFLICT,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Desk {
    /// Whether the order is placed.
    async fn place(&self, order: Order) -> anyhow::Result<bool> {
        match self {
            Self::None(remote) => Ok(call_in_a_row(*remote, order).await.is_ok()),
            Self::Article(remote) => Ok(place_order(*remote, order).await.is_ok()),
            Self::Saga(engine, saga) => {
                let id = order.number.to_string();
                let handle = engine.start(saga, &id, order).await?;
                match handle.settled().await? {
                    Settled::Done(_) => Ok(true),
                    Settled::Undone(_) => Ok(false),
                    other => bail!("{other:?}"),
                }
            }
        }
    }
}
