//! Fences in tables of your own, in the transaction of the rows they protect.
//!
//! One statement raises the mark or refuses; it reads the same in SQLite and Postgres. Run it first in the transaction,
//! on a table in the same database as the rows.
//!
//! ```
//! use backstay_lease::Fence;
//! use backstay_lease::fencing::sql::Table;
//! use backstay_store::sqlite::rusqlite::Connection;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut shop = Connection::open_in_memory()?;
//! # let fence = Fence::new("sweeper", 7);
//! let fences = Table::new("fences")?;
//! shop.execute_batch(&fences.ddl())?;
//!
//! let rows = shop.transaction()?;
//! let raise = fences.raise(&fence)?;
//! raise.changed(rows.execute(raise.sql(), (raise.name(), raise.token()))?)?;
//! // Writes of your own.
//! rows.commit()?;
//! # Ok(())
//! # }
//! ```

use backstay_core::Invalid;
use backstay_store::Fence;

/// Bytes of a table's name with its schema, as Postgres has them.
const LONGEST: usize = 63;

/// A table of names and their highest tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// In quotes, its schema too.
    name: String,
    raise: String,
}

impl Table {
    /// A table of this name, such as `fences` or `shop.fences`: 1 to 63 of `a-z`, `0-9`, `_`, with at most one dot.
    ///
    /// Names that begin with `backstay_` are the store's.
    pub fn new(name: &str) -> Result<Self, Invalid> {
        let is_part = |part: &str| {
            let is_in = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_');
            part.chars().all(is_in)
                && !part.is_empty()
                && !part.starts_with(|c: char| c.is_ascii_digit())
        };
        let table = name.rsplit('.').next().unwrap_or_default();
        let is_name =
            name.len() <= LONGEST && name.split('.').count() <= 2 && name.split('.').all(is_part);
        if !is_name || table.starts_with("backstay_") {
            let limit = format!(
                "must be 1 to {LONGEST} of a-z, 0-9 and _, not begin with `backstay_` or a digit, and may have a schema before a dot"
            );
            let shown: String = name.chars().take(LONGEST + 1).collect();
            return Err(Invalid::new("fences.table", format!("{shown:?}"), limit));
        }
        // A word of SQL such as `order` is a name like any other.
        let name = format!("\"{}\"", name.replace('.', "\".\""));
        Ok(Self {
            raise: format!(
                "INSERT INTO {name} AS fence (name, token) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET token = excluded.token \
                 WHERE fence.token <= excluded.token"
            ),
            name,
        })
    }

    /// Makes the table, unless it is there.
    pub fn ddl(&self) -> String {
        let name = &self.name;
        format!(
            "CREATE TABLE IF NOT EXISTS {name} (\
             name TEXT PRIMARY KEY, token BIGINT NOT NULL CHECK (token > 0))"
        )
    }

    /// Reads the highest token of the name `$1`, for whoever wants to tell it.
    pub fn highest(&self) -> String {
        format!("SELECT token FROM {} WHERE name = $1", self.name)
    }

    /// The statement for one fence.
    ///
    /// # Errors
    ///
    /// A token below 1, or one that a signed number can't hold.
    pub fn raise<'t>(&'t self, fence: &'t Fence) -> Result<Raise<'t>, Invalid> {
        let token = i64::try_from(fence.token).ok().filter(|token| *token > 0);
        let limit = || format!("must be in 1..={}", i64::MAX);
        let token = token.ok_or_else(|| Invalid::new("fence.token", fence.token, limit()))?;
        Ok(Raise {
            table: self,
            fence,
            token,
        })
    }
}

/// Raises the mark of one name, unless it is higher already.
///
/// The statement holds the name's row until the transaction ends, so of two transactions the second waits for the
/// first, and of two that commit the later never has the lower token.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is refused until it runs and `changed` has seen how many rows it changed"]
pub struct Raise<'t> {
    table: &'t Table,
    fence: &'t Fence,
    token: i64,
}

impl Raise<'_> {
    /// The statement, with the [name](Self::name) as `$1` and the [token](Self::token) as `$2`.
    pub fn sql(&self) -> &str {
        &self.table.raise
    }

    /// The first parameter.
    pub fn name(&self) -> &str {
        &self.fence.name
    }

    /// The second parameter.
    pub fn token(&self) -> i64 {
        self.token
    }

    /// Whether the transaction may go on, from the number of rows that the statement has changed.
    ///
    /// # Errors
    ///
    /// [`Stale`] if it was none. Then roll the transaction back.
    ///
    /// A statement that fails has not said so: after a serialization failure of Postgres, 40001, roll back and run the
    /// whole transaction again.
    pub fn changed(&self, rows: impl TryInto<u64>) -> Result<(), Stale> {
        // What is no count of rows, such as -1, has shown nothing.
        match rows.try_into() {
            Ok(1..) => Ok(()),
            _ => Err(Stale {
                name: self.fence.name.clone(),
                token: self.fence.token,
                highest: None,
            }),
        }
    }
}

/// A holder with a higher token has written. Stop acting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fenced: token {token} of {name:?} is lower than {}", self.shown())]
#[non_exhaustive]
pub struct Stale {
    /// The fence's name.
    pub name: String,
    /// The token that came too late.
    pub token: u64,
    /// The highest seen; none where nobody has read it.
    pub highest: Option<u64>,
}

impl Stale {
    /// The same with the highest token, as [`Table::highest`] has read it.
    #[must_use]
    pub fn with_highest(mut self, highest: i64) -> Self {
        self.highest = u64::try_from(highest).ok();
        self
    }

    fn shown(&self) -> String {
        self.highest
            .map_or_else(|| "the highest".to_owned(), |highest| highest.to_string())
    }
}
