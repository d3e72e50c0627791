//! Rows of orders, as both files have them.

use std::path::Path;

use anyhow::Context;
use backstay::store::sqlite::rusqlite::{self, Transaction};
use backstay::store::{Batch, SqliteStore};

use super::order::{Change, Order, Row};

const ORDERS: &str = "CREATE TABLE IF NOT EXISTS orders
    (number INTEGER PRIMARY KEY, customer INTEGER, cents INTEGER, last TEXT, changes INTEGER, position INTEGER)";

/// Opens a file, which has a table of orders and what else is made.
pub(super) async fn open(file: &Path, more: &'static str) -> anyhow::Result<SqliteStore> {
    let store = SqliteStore::open(file).await?;
    let make = move |rows: &Transaction<'_>| {
        rows.execute_batch(ORDERS)?;
        rows.execute_batch(more)
    };
    store.commit_with(Batch::new(), make).await?;
    Ok(store)
}

/// What some work on the rows comes to, when it is committed.
pub(super) async fn commit<T: Send + 'static>(
    store: &SqliteStore,
    work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let committed = store.commit_with(Batch::new(), work).await?;
    committed.output.context("its outcome is not known")
}

pub(super) fn orders(rows: &Transaction<'_>) -> rusqlite::Result<Vec<Row>> {
    let mut all = rows.prepare("SELECT * FROM orders ORDER BY number")?;
    all.query_map([], row)?.collect()
}

pub(super) fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let last: String = row.get(3)?;
    Ok(Row {
        order: Order {
            number: row.get(0)?,
            customer: row.get(1)?,
            cents: row.get(2)?,
        },
        last: Change::find(&last).ok_or(rusqlite::Error::InvalidQuery)?,
        changes: row.get(4)?,
        position: row.get(5)?,
    })
}
