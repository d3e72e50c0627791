//! Read your writes over HTTP: the position of what was written, and how far a read has to be.
//!
//! A server that executes commands answers with `backstay-position`. Whoever reads sends it along, and a server of a read side
//! waits until it shows as much, or answers 412 with the position that it is at.

mod client;
mod server;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use backstay_store::Position;

pub use client::{Session, SessionLayer, SessionService};
pub use server::{AtLeastLayer, AtLeastService, ReadSide};

/// The header of a position: in a request, how far a read has to be; in an answer, how far it is, or what was written.
pub const POSITION: HeaderName = HeaderName::from_static("backstay-position");

/// A position as the value of [`POSITION`].
pub fn position_value(position: Position) -> HeaderValue {
    HeaderValue::from(position.get())
}

/// The position that headers name; none if they name none. An error says what is not one.
pub fn position_of(headers: &HeaderMap) -> Result<Option<Position>, NoPosition> {
    let Some(value) = headers.get(POSITION) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| *number <= MOST);
    match number.filter(|_| is_plain) {
        Some(number) => Ok(Some(Position::new(number))),
        None => Err(NoPosition(value.clone())),
    }
}

/// Stores count in signed numbers.
const MOST: u64 = i64::MAX.unsigned_abs();

/// A header that is no position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("backstay-position = {0:?}: must be a number from 0 to {MOST}")]
pub struct NoPosition(HeaderValue);
