//! What the reader keeps: a row for each order, and a sum for each customer.

use std::path::{Path, PathBuf};

use backstay::store::SqliteStore;
use backstay::store::sqlite::rusqlite::{self, OptionalExtension, Transaction};

use super::order::{Asked, Row, Side, Sum};
use super::tables;

const CUSTOMERS: &str = "CREATE TABLE IF NOT EXISTS customers
    (customer INTEGER PRIMARY KEY, orders INTEGER, cents INTEGER)";

pub(super) async fn open(folder: &Path) -> anyhow::Result<SqliteStore> {
    tables::open(&file(folder), CUSTOMERS).await
}

fn file(folder: &Path) -> PathBuf {
    folder.join("reader.db")
}

/// Takes a change. Whoever takes it twice counts it twice.
pub(super) fn apply(
    rows: &Transaction<'_>,
    Asked { order, change }: Asked,
    position: i64,
) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO orders VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT (number) DO UPDATE
        SET last = excluded.last, changes = changes + 1, position = excluded.position";
    let row = (
        order.number,
        order.customer,
        order.cents,
        change.name(),
        position,
    );
    rows.execute(upsert, row)?;
    let add = "INSERT INTO customers VALUES (?1, ?2, ?3) ON CONFLICT (customer) DO UPDATE
        SET orders = orders + excluded.orders, cents = cents + excluded.cents";
    let Sum { orders, cents } = change.adds(order);
    rows.execute(add, (order.customer, orders, cents))?;
    Ok(())
}

/// An order as it is shown; none if it is not.
pub(super) async fn find(store: &SqliteStore, number: i64) -> anyhow::Result<Option<Row>> {
    tables::commit(store, move |rows| {
        let find = "SELECT * FROM orders WHERE number = ?1";
        rows.query_row(find, [number], tables::row).optional()
    })
    .await
}

pub(super) async fn all(store: &SqliteStore) -> anyhow::Result<Side> {
    tables::commit(store, |rows| {
        let orders = tables::orders(rows)?;
        let mut customers = rows.prepare("SELECT * FROM customers")?;
        let sum = |row: &rusqlite::Row<'_>| {
            let sum = Sum {
                orders: row.get(1)?,
                cents: row.get(2)?,
            };
            Ok((row.get(0)?, sum))
        };
        let orders = orders.into_iter().map(|row| (row.order.number, row));
        Ok(Side {
            orders: orders.collect(),
            customers: customers.query_map([], sum)?.collect::<Result<_, _>>()?,
        })
    })
    .await
}

/// All that a reader has left that has ended.
pub(crate) async fn left(folder: &Path) -> anyhow::Result<Side> {
    all(&open(folder).await?).await
}
