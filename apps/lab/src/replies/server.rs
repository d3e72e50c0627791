//! What takes orders: one row in a file for each time that an order is carried out.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use backstay::idempotency::{IdempotencyGuard, IdempotencyLayer};
use backstay::lease::{BootClock, Clock};
use backstay::store::sqlite::rusqlite::{self, Transaction};
use backstay::store::{Batch, SqliteStore};
use tokio::net::TcpListener;

use super::{Arm, Way};
use crate::arms::article::idempotent::{CreateError, IdempotentKeyStore};
use crate::saga::http::Failed;

/// An order that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) order: i64,
    /// Made by the server, another one each time: when it was, by the machine's clock, in nanoseconds.
    pub(crate) receipt: i64,
}

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(
    arm: Arm,
    folder: &Path,
    tell: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let store = open(arm, folder).await?;
    let app = match arm.way {
        Way::None | Way::NoKey => Router::new().route("/orders/{order}", post(place)),
        Way::Article => {
            let known = Extension(Arc::<IdempotentKeyStore>::default());
            Router::new().route("/orders/{order}", post(place_as_printed).layer(known))
        }
        Way::Backstay => {
            let once = IdempotencyLayer::builder(store.clone())
                .required()
                .build()?;
            Router::new().route("/orders/{order}", post(place_once).layer(once))
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    Ok(axum::serve(listener, app.with_state(store)).await?)
}

async fn open(arm: Arm, folder: &Path) -> anyhow::Result<SqliteStore> {
    let store = SqliteStore::open(folder.join(format!("{}.db", arm.name))).await?;
    let table = "CREATE TABLE IF NOT EXISTS orders (number INTEGER, receipt INTEGER)";
    store
        .commit_with(Batch::new(), move |rows| rows.execute_batch(table))
        .await?;
    Ok(store)
}

/// All rows of a server that has ended.
pub(crate) async fn rows(arm: Arm, folder: &Path) -> anyhow::Result<Vec<Row>> {
    let store = open(arm, folder).await?;
    let read = |rows: &Transaction<'_>| {
        let mut all = rows.prepare("SELECT number, receipt FROM orders ORDER BY receipt")?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Row {
                order: row.get(0)?,
                receipt: row.get(1)?,
            })
        };
        all.query_map([], row)?.collect::<Result<Vec<_>, _>>()
    };
    let read = store.commit_with(Batch::new(), read).await?;
    read.output.context("nothing was read")
}

fn carried_out(order: i64) -> anyhow::Result<Row> {
    let receipt = i64::try_from(BootClock.now().as_nanos())?;
    Ok(Row { order, receipt })
}

/// Commits the row, and what else there is in the batch.
async fn insert(store: &SqliteStore, batch: Batch, row: Row) -> anyhow::Result<()> {
    let work = move |rows: &Transaction<'_>| {
        let insert = "INSERT INTO orders VALUES (?1, ?2)";
        rows.execute(insert, (row.order, row.receipt))
    };
    store.commit_with(batch, work).await?;
    Ok(())
}

async fn place(
    State(store): State<SqliteStore>,
    extract::Path(order): extract::Path<i64>,
) -> Result<Response, Failed> {
    let row = carried_out(order)?;
    insert(&store, Batch::new(), row).await?;
    Ok((StatusCode::CREATED, row.receipt.to_string()).into_response())
}

async fn place_as_printed(
    State(store): State<SqliteStore>,
    Extension(known): Extension<Arc<IdempotentKeyStore>>,
    extract::Path(order): extract::Path<i64>,
    asked: Bytes,
) -> Result<Response, Failed> {
    let key = u64::try_from(order).map_err(anyhow::Error::from)?;
    let create = async { insert(&store, Batch::new(), carried_out(order)?).await };
    match known.create_key(key, &asked, create).await {
        Ok(()) => Ok(StatusCode::CREATED.into_response()),
        Err(CreateError::Different) => Ok(StatusCode::CONFLICT.into_response()),
        Err(CreateError::Create(error)) => Err(error.into()),
    }
}

async fn place_once(
    State(store): State<SqliteStore>,
    Extension(guard): Extension<IdempotencyGuard>,
    extract::Path(order): extract::Path<i64>,
) -> Result<Response, Failed> {
    let row = carried_out(order)?;
    let answer = http::Response::builder()
        .status(StatusCode::CREATED)
        .body(row.receipt.to_string())
        .map_err(anyhow::Error::from)?;
    let batch = guard.answer_in(Batch::new(), &answer);
    insert(&store, batch.map_err(anyhow::Error::from)?, row).await?;
    Ok(answer.map(Body::from))
}
