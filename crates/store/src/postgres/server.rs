//! The connections to the server, and how each is bound in time.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::future::{try_join_all, try_join3};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::PostgresOptions;
use super::failure::Failure;
use crate::Unavailable;

/// How often a transaction is tried that met others or a closed connection.
pub(super) const ATTEMPTS: u32 = 4;
/// The server ends a statement that takes too long. When it does not answer at all, we give up so much later.
const GRACE: Duration = Duration::from_secs(1);
/// Who holds the store's lock and stands still between two round trips for longer has its transaction ended: all others
/// wait for it.
const STILL: Duration = Duration::from_millis(500);
/// The server's clock in milliseconds.
const NOW: &str = "floor(extract(epoch FROM clock_timestamp()) * 1000)::int8";

/// A server, and the schema that is ours.
pub(super) struct Server {
    pub(super) options: PostgresOptions,
    /// For reads and for transactions with the user's work.
    pub(super) pool: Pool,
    /// The one connection that writes, so that reads can't keep it waiting.
    pub(super) writing: Pool,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A statement and its parameters.
///
/// Types are told and nothing is prepared, so a pooler may put any connection behind each transaction.
pub(super) struct Query<'q> {
    pub(super) sql: String,
    pub(super) params: Vec<(&'q (dyn ToSql + Sync), Type)>,
    is_needed: bool,
}

impl<'q> Query<'q> {
    pub(super) fn new(
        sql: String,
        params: impl IntoIterator<Item = (&'q (dyn ToSql + Sync), Type)>,
    ) -> Self {
        Self {
            sql,
            params: params.into_iter().collect(),
            is_needed: true,
        }
    }

    /// Asked only if it is needed; else its answer is no row.
    pub(super) fn only_if(mut self, is_needed: bool) -> Self {
        self.is_needed = is_needed;
        self
    }

    pub(super) async fn ask(&self, client: &Client) -> Result<Vec<Row>, tokio_postgres::Error> {
        if !self.is_needed {
            return Ok(Vec::new());
        }
        client.query_typed(&self.sql, &self.params).await
    }
}

/// Sends all queries at once and waits for all answers, which come in the same order.
pub(super) async fn ask_all(
    client: &Client,
    queries: &[Query<'_>],
) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
    try_join_all(queries.iter().map(|query| query.ask(client))).await
}

impl Server {
    /// The schema as it stands in statements; its letters need no more.
    pub(super) fn schema(&self) -> String {
        format!("\"{}\"", self.options.schema)
    }

    /// The store's clock as an expression; the parameter is what it [shows at least](Self::least_time).
    pub(super) fn now(&self, param: u32) -> String {
        let s = self.schema();
        let clock = if self.options.clock.is_of_test() {
            "0"
        } else {
            NOW
        };
        format!("greatest((SELECT clock FROM {s}.state), ${param}, {clock})")
    }

    /// The time that was seen, and what has passed since.
    pub(super) fn least_time(&self) -> i64 {
        self.options.clock.at_least().as_millis().cast_signed()
    }

    /// Makes a transaction end in time even when we vanish, and durable where the user's settings are not.
    pub(super) fn settings(&self) -> String {
        let limit = self.options.statement_timeout;
        let (limit, still) = (millis(limit), millis(limit.min(STILL)));
        format!(
            "SET LOCAL statement_timeout = {limit}; \
             SET LOCAL idle_in_transaction_session_timeout = {still}; \
             SELECT set_config('synchronous_commit', 'on', true) \
             WHERE current_setting('synchronous_commit') = 'off'"
        )
    }

    /// Borrows a connection. It is closed unless it is [kept](Session::keep).
    pub(super) async fn lend(&self, pool: &Pool) -> Result<Session, Failure> {
        let object = Some(pool.get().await?);
        Ok(Session { object })
    }

    /// Waits for what the server does in one statement, or in several that were sent at once.
    pub(super) async fn within<T, E>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        Ok(timeout(self.options.statement_timeout + GRACE, answer).await??)
    }

    /// Asks in one transaction that sees one moment, in one round trip.
    pub(super) async fn read(&self, queries: &[Query<'_>]) -> Result<Vec<Vec<Row>>, Unavailable> {
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match self.read_once(queries).await {
                Err(failure) if failure.is_passing() && left > 0 => {}
                answer => return Ok(answer?),
            }
        }
    }

    async fn read_once(&self, queries: &[Query<'_>]) -> Result<Vec<Vec<Row>>, Failure> {
        let session = self.lend(&self.pool).await?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}",
            millis(self.options.statement_timeout)
        );
        let client = session.client();
        let ((), answers, ()) = self
            .within(try_join3(
                client.batch_execute(&begin),
                ask_all(client, queries),
                client.batch_execute("COMMIT"),
            ))
            .await?;
        session.keep();
        Ok(answers)
    }
}

/// As Postgres takes its timeouts; zero would mean none.
pub(super) fn millis(time: Duration) -> u128 {
    time.as_millis().max(1)
}

/// A borrowed connection.
///
/// Whatever goes wrong, or when the future that holds it is dropped, it is closed, and the server ends what was open on
/// it. Only one that is known to have no open transaction goes back to the pool.
#[must_use]
pub(super) struct Session {
    /// There until the end.
    object: Option<Object>,
}

impl Session {
    pub(super) fn client(&self) -> &Client {
        self.object.as_ref().expect("it is there until the end")
    }

    pub(super) fn client_mut(&mut self) -> &mut Client {
        self.object.as_mut().expect("it is there until the end")
    }

    /// Gives it back. Its last transaction has ended.
    pub(super) fn keep(mut self) {
        drop(self.object.take());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}
