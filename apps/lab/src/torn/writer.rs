//! The process that takes orders.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use backstay::cqrs::ExecuteError;
use backstay::cqrs::http::{POSITION, position_value};
use backstay::store::SqliteStore;
use tokio::net::TcpListener;

use super::article::OrderCommandService;
use super::gate::{Gate, Place};
use super::order::{Asked, Standing};
use super::ours::Orders;
use super::{Arm, Way, write_side};
use crate::saga::http::{Failed, post as send};

/// The header of a request's key.
pub(super) const KEY: &str = "idempotency-key";

/// How this one writes and tells the reader.
#[derive(Clone)]
enum Desk {
    None(SqliteStore),
    Article(OrderCommandService),
    Ours(Orders),
}

#[derive(Clone)]
struct Writer {
    desk: Desk,
    gate: Gate,
}

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(
    arm: Arm,
    folder: &Path,
    gate: Gate,
    tell: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let store = write_side::open(folder).await?;
    let desk = match arm.way {
        Way::None => Desk::None(store),
        Way::Article => Desk::Article(OrderCommandService::new(store, gate)),
        Way::NoInbox | Way::Backstay => Desk::Ours(Orders::start(&store, gate)?),
    };
    let app = Router::new()
        .route("/orders", post(change))
        .route("/standing", post(standing))
        .with_state(Writer { desk, gate });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// 200 says that it is done, 409 that the order is not at what comes before, or has it behind it.
async fn change(
    State(Writer { desk, gate }): State<Writer>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failed> {
    let asked: Asked = serde_json::from_slice(&body)?;
    gate.pass(asked.at(Place::Arrived)).await?;
    match desk {
        Desk::None(store) => {
            let is_written = write_side::write(&store, asked).await?;
            if is_written {
                // No matter what comes of it: the order is written.
                let _ = call(gate, asked).await;
            }
            Ok(done(is_written))
        }
        Desk::Article(service) => Ok(done(service.change(asked).await?)),
        Desk::Ours(orders) => {
            let key = headers.get(KEY).context("it has no key")?.to_str()?;
            let done = match orders.change(key, &asked).await {
                Ok(done) => done,
                Err(ExecuteError::Refused(_) | ExecuteError::OtherCommand) => {
                    return Ok(StatusCode::CONFLICT.into_response());
                }
                Err(error) => return Err(error.into()),
            };
            gate.pass(asked.at(Place::Written)).await?;
            Ok([(POSITION, position_value(done.position))].into_response())
        }
    }
}

fn done(is_written: bool) -> Response {
    let status = if is_written {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    status.into_response()
}

/// The second of two writes, without the article's bus.
async fn call(gate: Gate, asked: Asked) -> anyhow::Result<()> {
    let addresses = gate.pass(asked.at(Place::Written)).await?;
    let reader = addresses.reader.context("nobody is there")?;
    send(reader, "told", HeaderMap::new(), &asked).await?;
    gate.pass(asked.at(Place::Taken)).await?;
    Ok(())
}

async fn standing(State(Writer { desk, .. }): State<Writer>) -> Result<Vec<u8>, Failed> {
    let (side, is_at_rest) = match desk {
        Desk::None(store) => (write_side::all(&store).await?, true),
        Desk::Article(service) => (write_side::all(&service.db).await?, true),
        Desk::Ours(orders) => orders.standing().await?,
    };
    let standing = Standing {
        checksum: side.checksum(),
        is_at_rest,
    };
    Ok(serde_json::to_vec(&standing)?)
}
