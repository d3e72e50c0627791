//! The process that shows orders.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use backstay::cqrs::http::{POSITION, position_of, position_value};
use backstay::cqrs::{Inbox, Message};
use backstay::store::sqlite::rusqlite::Transaction;
use backstay::store::{Position, SqliteStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::article::OrderQueryService;
use super::gate::{Gate, Place};
use super::order::{Asked, Standing};
use super::{Arm, Way, ours, read_side, tables};
use crate::saga::http::Failed;

/// How this one takes what it is told.
#[derive(Clone)]
enum Desk {
    None,
    Article(OrderQueryService),
    NoInbox,
    Ours(Inbox<SqliteStore>),
}

#[derive(Clone)]
struct Reader {
    desk: Desk,
    store: SqliteStore,
    gate: Gate,
    /// Who waits for a position looks again.
    taken: Arc<watch::Sender<()>>,
}

/// Less than a customer would wait.
const WITHIN: Duration = Duration::from_millis(200);

/// Serves until its process is killed; tells its address once.
pub(crate) async fn serve(
    arm: Arm,
    folder: &Path,
    gate: Gate,
    tell: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let store = read_side::open(folder).await?;
    let desk = match arm.way {
        Way::None => Desk::None,
        Way::Article => Desk::Article(OrderQueryService::new(store.clone())),
        Way::NoInbox => Desk::NoInbox,
        Way::Backstay => Desk::Ours(Inbox::new(&store, "reader")?),
    };
    let app = Router::new()
        .route("/told", post(told))
        .route("/query", post(query))
        .route("/standing", post(standing))
        .with_state(Reader {
            desk,
            store,
            gate,
            taken: Arc::default(),
        });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    tell(listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn told(State(reader): State<Reader>, body: Bytes) -> Result<StatusCode, Failed> {
    let Reader {
        desk,
        store,
        gate,
        taken,
    } = reader;
    let message = match desk {
        Desk::None | Desk::Article(_) => None,
        Desk::NoInbox | Desk::Ours(_) => Some(Message::from_json(&body)?),
    };
    let asked: Asked = match &message {
        Some(message) => ours::read(message)?,
        None => serde_json::from_slice(&body)?,
    };
    let position = message.as_ref().map_or(Position::START, |it| it.position);
    let position = position.get().cast_signed();
    gate.pass(asked.at(Place::Published)).await?;
    let apply = move |rows: &Transaction<'_>| read_side::apply(rows, asked, position);
    match (desk, message) {
        (Desk::Article(service), _) => service.handle(asked).await?,
        (Desk::Ours(inbox), Some(message)) => drop(inbox.take(&message, apply).await?),
        _ => tables::commit(&store, apply).await?,
    }
    taken.send_replace(());
    gate.pass(asked.at(Place::Handled)).await?;
    Ok(StatusCode::OK)
}

/// An order as it is shown, or 404; 412 with where it is if the request names a position that it is not at in time.
async fn query(
    State(reader): State<Reader>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failed> {
    let number: i64 = serde_json::from_slice(&body)?;
    let wanted = position_of(&headers)?.unwrap_or(Position::START);
    let until = Instant::now() + WITHIN;
    loop {
        // From before the look, so that nothing comes between.
        let mut taken = reader.taken.subscribe();
        let row = match &reader.desk {
            Desk::Article(service) => service.get(number).await?,
            _ => read_side::find(&reader.store, number).await?,
        };
        let at = row.map_or(0, |row| row.position.unsigned_abs());
        if at >= wanted.get() {
            return Ok(match row {
                Some(row) => serde_json::to_vec(&row)?.into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            });
        }
        if timeout_at(until, taken.changed()).await.is_err() {
            let at = [(POSITION, position_value(Position::new(at)))];
            return Ok((StatusCode::PRECONDITION_FAILED, at).into_response());
        }
    }
}

async fn standing(State(reader): State<Reader>) -> Result<Vec<u8>, Failed> {
    let standing = Standing {
        checksum: read_side::all(&reader.store).await?.checksum(),
        is_at_rest: true,
    };
    Ok(serde_json::to_vec(&standing)?)
}
