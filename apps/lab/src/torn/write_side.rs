//! What the writer keeps: a row for each order, or our log.

use std::path::{Path, PathBuf};

use backstay::store::SqliteStore;

use super::order::{Asked, Side};
use super::{Way, ours, tables};

pub(super) async fn open(folder: &Path) -> anyhow::Result<SqliteStore> {
    tables::open(&file(folder), "").await
}

fn file(folder: &Path) -> PathBuf {
    folder.join("writer.db")
}

/// Writes a change, unless the order has not come that far, or farther.
pub(super) async fn write(
    store: &SqliteStore,
    Asked { order, change }: Asked,
) -> anyhow::Result<bool> {
    let written = tables::commit(store, move |rows| {
        let Some(before) = change.before() else {
            let insert = "INSERT OR IGNORE INTO orders VALUES (?1, ?2, ?3, ?4, 1, 0)";
            let row = (order.number, order.customer, order.cents, change.name());
            return rows.execute(insert, row);
        };
        let update =
            "UPDATE orders SET last = ?1, changes = changes + 1 WHERE number = ?2 AND last = ?3";
        rows.execute(update, (change.name(), order.number, before.name()))
    });
    Ok(written.await? > 0)
}

pub(super) async fn all(store: &SqliteStore) -> anyhow::Result<Side> {
    Ok(Side::of(tables::commit(store, tables::orders).await?))
}

/// All that a writer has left that has ended.
pub(crate) async fn left(way: Way, folder: &Path) -> anyhow::Result<Side> {
    let store = open(folder).await?;
    if way.has_relay() {
        Ok(ours::all(&store.store()).await?.0)
    } else {
        all(&store).await
    }
}
