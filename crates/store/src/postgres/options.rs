use std::fmt;
use std::time::Duration;

use backstay_core::Invalid;

use super::{ConnectError, PostgresStore};
use crate::Limits;
use crate::clock::ServerClock;
use crate::limits::check_time;

/// Postgres keeps its timeouts in 32 bits of milliseconds.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// With what is put before it, a name in Postgres has at most 63 bytes.
const SCHEMA_BYTES: usize = 48;

/// How a store on a Postgres server is reached.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `connect`"]
pub struct PostgresOptions {
    pub(super) limits: Limits,
    pub(super) schema: String,
    pub(super) pool: u32,
    pub(super) statement_timeout: Duration,
    pub(super) work_timeout: Duration,
    pub(super) remember: Duration,
    pub(super) must_exist: bool,
    pub(super) clock: ServerClock,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            schema: "backstay".to_owned(),
            pool: 16,
            statement_timeout: Duration::from_secs(5),
            work_timeout: Duration::from_secs(1),
            remember: Duration::from_secs(24 * 60 * 60),
            must_exist: false,
            clock: ServerClock::default(),
        }
    }
}

impl PostgresOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How large what the store takes may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The schema that the store's tables lie in: 1 to 48 of `a-z`, `0-9` and `_`, no digit and no `pg_` first;
    /// `backstay`. Each schema is a store of its own.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How many connections read and run [`commit_with`](PostgresStore::commit_with). 1 to 1,000; 16: a server allows
    /// a hundred by default, for all who use it. Two more write and listen.
    pub fn pool(mut self, connections: u32) -> Self {
        self.pool = connections;
        self
    }

    /// How long one statement may take, a free connection may be waited for, and a connection may take to be made. 1 ms
    /// to 24 h; 5 s: statements take milliseconds, unless others hold the store's lock.
    pub fn statement_timeout(mut self, time: Duration) -> Self {
        self.statement_timeout = time;
        self
    }

    /// How long the work of [`commit_with`](PostgresStore::commit_with) may take. 1 ms to 24 h; 1 s: it holds a
    /// connection and locks of its own.
    pub fn work_timeout(mut self, time: Duration) -> Self {
        self.work_timeout = time;
        self
    }

    /// How long commits are found by their id, and deletions are told to watchers. 1 ms to 366 days; 24 h: longer than
    /// anybody tries again.
    pub fn remember(mut self, time: Duration) -> Self {
        self.remember = time;
        self
    }

    /// Opens tables that are there, and makes none: for programs that look into a store, where a mistyped schema would
    /// become a new one. [`connect`](Self::connect) then fails with [`ConnectError::Missing`].
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Reads the time from this clock and not from the server's.
    #[cfg(feature = "test-util")]
    pub fn clock(mut self, clock: crate::TestClock) -> Self {
        self.clock = ServerClock::of_test(clock);
        self
    }

    /// Reaches the store on this server, or makes its tables there unless they [must exist](Self::must_exist).
    ///
    /// The address is one of libpq's: `postgres://user:password@host:5432/database?sslmode=require`. With
    /// `sslmode=require` the connection is encrypted and the server's certificate is checked against those of the
    /// operating system; without, also with `prefer`, it is plain. `sslrootcert`, `sslcert`, `sslkey` and the modes
    /// `verify-ca` and `verify-full` are not taken: `require` checks certificate and name already, and an authority of your
    /// own goes into the operating system's store or the file that `SSL_CERT_FILE` names.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says what is wrong with the address, the server or the options.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, ConnectError> {
        PostgresStore::connect_with(url, self).await
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        self.limits.validate()?;
        check_time("remember", self.remember)?;
        for (field, time) in [
            ("statement_timeout", self.statement_timeout),
            ("work_timeout", self.work_timeout),
        ] {
            if !(Duration::from_millis(1)..=LONGEST).contains(&time) {
                return Err(invalid(field, format!("{time:?}"), "must be 1 ms to 24 h"));
            }
        }
        if !(1..=1_000).contains(&self.pool) {
            return Err(invalid("pool", self.pool, "must be in 1..=1000"));
        }
        if !is_schema(&self.schema) {
            let limit =
                "must be 1 to 48 of a-z, 0-9 and _, without a digit or pg_ at its beginning";
            let shown: String = self.schema.chars().take(40).collect();
            return Err(invalid("schema", format!("{shown:?}"), limit));
        }
        Ok(())
    }
}

fn invalid(field: &str, value: impl fmt::Display, limit: &str) -> Invalid {
    Invalid::new(field, value, limit)
}

fn is_schema(name: &str) -> bool {
    let of_names = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=SCHEMA_BYTES).contains(&name.len())
        && name.bytes().all(of_names)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.starts_with("pg_")
}
