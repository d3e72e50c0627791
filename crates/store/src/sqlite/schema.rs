//! The tables, and how an older file gets them.

use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior};

/// The version this code reads and writes.
pub(super) const VERSION: i64 = 1;

/// What tables a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    Ready,
    Newer(i64),
    /// Somebody else's, with names of ours.
    Foreign,
}

/// Makes the tables of a new file, migrates an older one; leaves a newer one and others' tables as they are.
pub(super) fn prepare(connection: &mut Connection) -> Result<Tables> {
    // Whoever opens a file that is ready does not wait for those who write.
    if tables(connection)? == Some(Tables::Ready) {
        return Ok(Tables::Ready);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(tables) = tables(&transaction)? {
        return Ok(tables);
    }
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.commit()?;
    Ok(Tables::Ready)
}

/// None where there are none yet.
fn tables(connection: &Connection) -> Result<Option<Tables>> {
    let count = |sql| connection.query_row(sql, [], |row| row.get::<_, u32>(0));
    let ours =
        count("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'backstay\\_%' ESCAPE '\\'")?;
    if ours == 0 {
        return Ok(None);
    }
    let column = "SELECT count(*) FROM pragma_table_info('backstay_state') WHERE name = 'schema'";
    if count(column)? == 0 {
        return Ok(Some(Tables::Foreign));
    }
    let schema = "SELECT schema FROM backstay_state";
    let found: Option<i64> = connection
        .query_row(schema, [], |row| row.get(0))
        .optional()?;
    Ok(Some(match found {
        None => Tables::Foreign,
        Some(VERSION) => Tables::Ready,
        Some(newer) => Tables::Newer(newer),
    }))
}
