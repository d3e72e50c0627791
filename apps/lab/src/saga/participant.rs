//! A service that keeps books: the shop its orders and stock, the bank its payments.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use axum::body::{Body, Bytes};
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use backstay::idempotency::{IdempotencyGuard, IdempotencyLayer, Undoes};
use backstay::lease::{BootClock, Clock};
use backstay::store::{Batch, SqliteStore};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::books::{Row, insert, open};
use super::gate::{Gate, Place, Point};
use super::http::Failed;
use super::order::{Call, Order, Process};
use super::{Arm, Way};

/// What a call says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) order: Order,
    /// The effect that is changed or taken back.
    pub(super) of: Option<i64>,
}

#[derive(Clone)]
struct Desk {
    store: SqliteStore,
    gate: Gate,
}

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(
    arm: Arm,
    service: Process,
    folder: &Path,
    gate: Gate,
    tell: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let store = open(folder, service).await?;
    let app = Router::new().route("/{call}", post(carry_out));
    let app = match arm.way {
        Way::None | Way::Article | Way::NoKey => app,
        Way::Backstay => {
            let once = IdempotencyLayer::builder(store.clone());
            app.layer(once.required().undoable().build()?)
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    Ok(axum::serve(listener, app.with_state(Desk { store, gate })).await?)
}

async fn carry_out(
    State(desk): State<Desk>,
    guard: Option<Extension<IdempotencyGuard>>,
    undoes: Option<Extension<Undoes>>,
    extract::Path(call): extract::Path<Call>,
    body: Bytes,
) -> Result<Response, Failed> {
    let Asked { order, of } = serde_json::from_slice(&body)?;
    let at = |place| Point {
        order: order.number,
        call,
        place,
    };
    desk.gate.pass(at(Place::Arrived)).await?;
    let answer = if order.flow.refuses(call) {
        StatusCode::FORBIDDEN.into_response()
    } else {
        // What the layer knows counts for more than what the caller does.
        let of = match undoes {
            Some(Extension(undoes)) => effect(&undoes),
            None => of,
        };
        let row = Row {
            id: i64::try_from(BootClock.now().as_nanos())?,
            call,
            order: order.number.try_into()?,
            of,
        };
        if call.is_undo() && of.is_none() {
            (StatusCode::OK, "0").into_response()
        } else {
            enter(&desk.store, guard.as_deref(), row).await?
        }
    };
    desk.gate.pass(at(Place::Done)).await?;
    Ok(answer)
}

/// The effect that is to be undone. Rows go with their answer, so without one there is none.
fn effect(undoes: &Undoes) -> Option<i64> {
    match undoes {
        Undoes::Done(Some(answer)) => std::str::from_utf8(answer.body()).ok()?.parse().ok(),
        _ => None,
    }
}

/// Commits the row, with its answer where somebody keeps that.
async fn enter(
    store: &SqliteStore,
    guard: Option<&IdempotencyGuard>,
    row: Row,
) -> Result<Response, Failed> {
    let answer = http::Response::new(row.id.to_string());
    let batch = match guard {
        Some(guard) => guard.answer_in(Batch::new(), &answer)?,
        None => Batch::new(),
    };
    insert(store, batch, row).await?;
    Ok(answer.map(Body::from))
}
