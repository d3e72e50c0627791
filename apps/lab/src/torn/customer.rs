//! Who wants an order, asks until there is an answer, and looks at once whether it is shown.

use std::net::SocketAddr;
use std::time::Duration;

use backstay::cqrs::http::{POSITION, position_of};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

use super::gate::Addresses;
use super::order::{Asked, Row};
use super::writer::KEY;
use crate::saga::http::post;

/// What a customer sees of what it has just written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Shown,
    /// It is not shown yet, and that was said, with the position that is shown.
    NotYet,
    /// There is nothing, or what there was before, and nobody says so.
    Unseen,
}

const AGAIN: Duration = Duration::from_millis(100);

/// Who knows where the processes are.
pub(crate) type Known = watch::Receiver<Addresses>;

/// Has a change made, and returns with what the answer says of its position. Who is cut off sends the same again.
pub(crate) async fn write(asked: Asked, known: &Known) -> Option<HeaderValue> {
    let key = format!("{}-{}", asked.change.name(), asked.order.number);
    let key = HeaderValue::try_from(key).unwrap_or(HeaderValue::from_static("none"));
    let mut headers = HeaderMap::new();
    headers.insert(KEY, key);
    // 409 is for who asks again where keys mean nothing: it is written.
    let is_end = |status: StatusCode| status.is_success() || status == StatusCode::CONFLICT;
    let answer = until(known, |at| at.writer, "orders", headers, &asked, is_end).await;
    answer.headers().get(POSITION).cloned()
}

/// Reads an order once that has just been changed.
pub(crate) async fn read(asked: Asked, position: Option<HeaderValue>, known: &Known) -> Read {
    let headers = position.map(|position| (POSITION, position));
    let headers: HeaderMap = headers.into_iter().collect();
    let number = asked.order.number;
    let is_end = |status: StatusCode| !status.is_server_error();
    let answer = until(known, |at| at.reader, "query", headers, &number, is_end).await;
    seen(asked, &answer)
}

fn seen(asked: Asked, answer: &Response<Bytes>) -> Read {
    let is_told = matches!(position_of(answer.headers()), Ok(Some(_)));
    if answer.status() == StatusCode::PRECONDITION_FAILED && is_told {
        return Read::NotYet;
    }
    let row: Option<Row> = serde_json::from_slice(answer.body()).ok();
    match row {
        Some(row) if row.order == asked.order && row.last >= asked.change => Read::Shown,
        _ => Read::Unseen,
    }
}

async fn until(
    known: &Known,
    of: impl Fn(&Addresses) -> Option<SocketAddr>,
    path: &str,
    headers: HeaderMap,
    asked: &impl Serialize,
    is_end: impl Fn(StatusCode) -> bool,
) -> Response<Bytes> {
    loop {
        let address = of(&known.borrow());
        if let Some(address) = address
            && let Ok(answer) = post(address, path, headers.clone(), asked).await
            && is_end(answer.status())
        {
            return answer;
        }
        sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use backstay::cqrs::http::position_value;
    use backstay::store::Position;

    use super::super::order::{Change, Order};
    use super::*;

    const ORDER: Order = Order {
        number: 7,
        customer: 1,
        cents: 250,
    };

    fn answer(status: StatusCode, row: Option<Row>) -> Response<Bytes> {
        let body = row.map_or_else(Vec::new, |row| serde_json::to_vec(&row).unwrap());
        let answer = Response::builder().status(status);
        answer.body(body.into()).unwrap()
    }

    #[test]
    fn what_is_old_or_not_there_is_not_seen() {
        let asked = Asked {
            order: ORDER,
            change: Change::Confirm,
        };
        let shown = |last| answer(StatusCode::OK, Some(Row::new(ORDER, last, 3)));
        assert_eq!(seen(asked, &shown(Change::Confirm)), Read::Shown);
        assert_eq!(seen(asked, &shown(Change::Place)), Read::Unseen);
        let nothing = answer(StatusCode::NOT_FOUND, None);
        assert_eq!(seen(asked, &nothing), Read::Unseen);
        let mut refused = answer(StatusCode::PRECONDITION_FAILED, None);
        assert_eq!(seen(asked, &refused), Read::Unseen);
        let at = position_value(Position::new(2));
        refused.headers_mut().insert(POSITION, at);
        assert_eq!(seen(asked, &refused), Read::NotYet);
    }
}
