//! The tables, and how an older schema gets them.

use tokio_postgres::types::Type;

use super::ConnectError;
use super::failure::Failure;
use super::group::BEGIN;
use super::server::{Query, Server, Session};

/// The version this code reads and writes.
pub(super) const VERSION: i64 = 1;
/// Who makes the tables holds this lock, with a second number for the schema. Any number that others do not use.
const LOCK: i32 = 0x6261_636b;

/// Makes the tables of a new schema unless they must be there, migrates an older one, refuses a newer one.
pub(super) async fn prepare(server: &Server) -> Result<(), ConnectError> {
    let found = make(server).await;
    match found.map_err(|failure| ConnectError::Tables(failure.into()))? {
        Some(VERSION) => Ok(()),
        None => Err(ConnectError::Missing {
            schema: server.options.schema.clone(),
        }),
        Some(found) => Err(ConnectError::Newer {
            found,
            known: VERSION,
        }),
    }
}

/// The version of the tables, which are there from then on; none if there are none and none may be made.
async fn make(server: &Server) -> Result<Option<i64>, Failure> {
    let session = server.lend(&server.pool).await?;
    // Whoever opens tables that are there waits for nobody, and needs no right to make any.
    let found = version(server, &session).await?;
    if found.is_some() || server.options.must_exist {
        session.keep();
        return Ok(found);
    }
    let client = session.client();
    let begin = format!(
        "{BEGIN}; {}; SELECT pg_advisory_xact_lock({LOCK}, hashtext('{}'))",
        server.settings(),
        server.options.schema
    );
    server.within(client.batch_execute(&begin)).await?;
    let found = if let Some(found) = version(server, &session).await? {
        found
    } else {
        create(server, &session).await?;
        VERSION
    };
    server.within(client.batch_execute("COMMIT")).await?;
    session.keep();
    Ok(Some(found))
}

async fn create(server: &Server, session: &Session) -> Result<(), Failure> {
    let (s, client) = (server.schema(), session.client());
    let sql = "SELECT FROM pg_namespace WHERE nspname = $1".to_owned();
    let there = Query::new(sql, [(&server.options.schema as _, Type::TEXT)]);
    if server.within(there.ask(client)).await?.is_empty() {
        let sql = format!("CREATE SCHEMA {s}");
        server.within(client.batch_execute(&sql)).await?;
    }
    let tables = include_str!("schema.sql").replace("SCHEMA", &s);
    server.within(client.batch_execute(&tables)).await
}

async fn version(server: &Server, session: &Session) -> Result<Option<i64>, Failure> {
    let (s, client) = (server.schema(), session.client());
    let sql = "SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'state'".to_owned();
    let there = Query::new(sql, [(&server.options.schema as _, Type::TEXT)]);
    if server.within(there.ask(client)).await?.is_empty() {
        return Ok(None);
    }
    let version = Query::new(format!("SELECT schema FROM {s}.state"), []);
    let rows = server.within(version.ask(client)).await?;
    Ok(Some(rows.first().ok_or(Failure::NoState)?.try_get(0)?))
}
