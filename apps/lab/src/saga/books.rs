//! What a participant has done: one row in its file for each effect.

use std::path::Path;

use anyhow::Context;
use backstay::store::sqlite::rusqlite::{self, Transaction};
use backstay::store::{Batch, SqliteStore};

use super::order::{Call, Process};

/// An effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// When it was, by the machine's clock, in nanoseconds.
    pub(crate) id: i64,
    pub(crate) call: Call,
    pub(crate) order: i64,
    /// The effect that it changes or takes back.
    pub(crate) of: Option<i64>,
}

pub(crate) async fn open(folder: &Path, of: Process) -> anyhow::Result<SqliteStore> {
    let store = SqliteStore::open(folder.join(format!("{}.db", of.name()))).await?;
    let table = "CREATE TABLE IF NOT EXISTS books (id INTEGER PRIMARY KEY, call TEXT, number INTEGER, of INTEGER)";
    store
        .commit_with(Batch::new(), move |rows| rows.execute_batch(table))
        .await?;
    Ok(store)
}

/// Commits the row, and what else there is in the batch.
pub(crate) async fn insert(store: &SqliteStore, batch: Batch, row: Row) -> anyhow::Result<()> {
    let work = move |rows: &Transaction<'_>| {
        let insert = "INSERT INTO books VALUES (?1, ?2, ?3, ?4)";
        rows.execute(insert, (row.id, row.call.name(), row.order, row.of))
    };
    store.commit_with(batch, work).await?;
    Ok(())
}

/// All rows of a participant that has ended.
pub(crate) async fn rows(folder: &Path, of: Process) -> anyhow::Result<Vec<Row>> {
    let read = |rows: &Transaction<'_>| {
        let mut all = rows.prepare("SELECT id, call, number, of FROM books ORDER BY id")?;
        all.query_map([], row)?.collect::<Result<Vec<_>, _>>()
    };
    let store = open(folder, of).await?;
    let read = store.commit_with(Batch::new(), read).await?;
    read.output.context("nothing was read")
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let name: String = row.get(1)?;
    let call = Call::ALL.into_iter().find(|call| call.name() == name);
    Ok(Row {
        id: row.get(0)?,
        call: call.ok_or(rusqlite::Error::InvalidQuery)?,
        order: row.get(2)?,
        of: row.get(3)?,
    })
}
