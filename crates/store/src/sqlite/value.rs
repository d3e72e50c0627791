//! Our numbers in SQLite's, which have a sign.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

use crate::{Position, Timestamp, Version};

fn to_sql(number: u64) -> rusqlite::Result<ToSqlOutput<'static>> {
    let signed = i64::try_from(number).map_err(|_| {
        rusqlite::Error::ToSqlConversionFailure("a number above the largest that SQLite has".into())
    })?;
    Ok(signed.into())
}

fn from_sql(value: ValueRef<'_>) -> FromSqlResult<u64> {
    let signed = value.as_i64()?;
    u64::try_from(signed).map_err(|_| FromSqlError::OutOfRange(signed))
}

impl ToSql for Position {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        to_sql(self.get())
    }
}

impl FromSql for Position {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        from_sql(value).map(Self::new)
    }
}

impl ToSql for Version {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        to_sql(self.get())
    }
}

impl FromSql for Version {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        from_sql(value).map(Self::new)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        to_sql(self.as_millis())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        from_sql(value).map(Self::from_millis)
    }
}
