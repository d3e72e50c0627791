//! Our numbers in SQLite's, which have a sign.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

use crate::{Position, Timestamp, Version};

macro_rules! number {
    ($name:ident, $to:ident, $from:ident) => {
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                let signed = i64::try_from(self.$to()).map_err(|_| {
                    let above = "a number above the largest that SQLite has";
                    rusqlite::Error::ToSqlConversionFailure(above.into())
                })?;
                Ok(signed.into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let signed = value.as_i64()?;
                let number = u64::try_from(signed);
                number
                    .map(Self::$from)
                    .map_err(|_| FromSqlError::OutOfRange(signed))
            }
        }
    };
}

number!(Position, get, new);
number!(Version, get, new);
number!(Timestamp, as_millis, from_millis);
