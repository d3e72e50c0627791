//! Our numbers in Postgres', which have a sign.

use std::error::Error;

use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

use crate::{BatchId, Position, Timestamp, Version};

/// As a parameter. What comes in from outside was checked against the largest that Postgres has.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn uuid(id: BatchId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

/// A number that can't be below zero.
#[derive(Clone, Copy)]
pub(super) struct Unsigned(pub(super) u64);

impl<'a> FromSql<'a> for Unsigned {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(u64::try_from(i64::from_sql(of, raw)?)?))
    }

    fn accepts(of: &Type) -> bool {
        <i64 as FromSql>::accepts(of)
    }
}

macro_rules! numbers {
    ($($number:ident: $new:ident),*) => {$(
        impl<'a> FromSql<'a> for $number {
            fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
                Unsigned::from_sql(of, raw).map(|number| Self::$new(number.0))
            }

            fn accepts(of: &Type) -> bool {
                <i64 as FromSql>::accepts(of)
            }
        }
    )*};
}

numbers!(Position: new, Version: new, Timestamp: from_millis);
