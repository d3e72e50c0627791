//! The tables, and how an older file gets them.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::OpenError;

/// The version this code reads and writes.
pub(super) const VERSION: i64 = 1;

/// Makes the tables of a new file, migrates an older one, refuses a newer one.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    // Whoever opens a file that is ready does not wait for those who write.
    if version(connection)? == Some(VERSION) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&transaction)? {
        None => transaction.execute_batch(include_str!("schema.sql"))?,
        Some(VERSION) => {}
        Some(found) => {
            return Err(OpenError::Newer {
                found,
                known: VERSION,
            });
        }
    }
    transaction.commit()?;
    Ok(())
}

fn version(connection: &Connection) -> Result<Option<i64>, rusqlite::Error> {
    let ours = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'backstay_state'";
    if connection
        .query_row(ours, [], |_| Ok(()))
        .optional()?
        .is_none()
    {
        return Ok(None);
    }
    connection
        .query_row("SELECT schema FROM backstay_state", [], |row| row.get(0))
        .optional()
}
