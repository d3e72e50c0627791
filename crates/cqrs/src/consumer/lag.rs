//! How long what a consumer has not taken has waited.

use std::convert::Infallible;
use std::time::Duration;

use backstay_store::{Position, Store, Timestamp, Unavailable};
use tokio::time::sleep;

use super::{Consumer, now};

const EVERY: Duration = Duration::from_secs(5);
/// What follows is mostly of the consumer's own streams; where it is not, more is looked at.
const FIRST_PAGE: u32 = 10;
const PAGE: u32 = 10_000;

/// Tells the lag from time to time, also while the consumer stands still. Where the log can't be read the last stays.
pub(super) async fn tell<T>(consumer: &Consumer<T>) -> Infallible {
    loop {
        sleep(EVERY).await;
        let position = *consumer.gauge.position.borrow();
        if let Ok(lag) = of(&consumer.log, position, &consumer.prefix, now()).await {
            consumer.gauge.lag(lag.unwrap_or_default());
        }
    }
}

/// How old the oldest event of these streams after a position is that was there at a time, by this machine's clock; none if there
/// is none.
pub(crate) async fn of(
    log: &Store,
    after: Position,
    streams: &str,
    until: Timestamp,
) -> Result<Option<Duration>, Unavailable> {
    let (mut after, mut limit) = (after, FIRST_PAGE);
    loop {
        let page = log.read_all(after, limit).await?;
        if let Some(oldest) = page.iter().find(|event| event.stream.starts_with(streams)) {
            if oldest.at > until {
                return Ok(None);
            }
            let age = now().as_millis().saturating_sub(oldest.at.as_millis());
            return Ok(Some(Duration::from_millis(age)));
        }
        let Some(last) = page.last() else {
            return Ok(None);
        };
        (after, limit) = (last.position, PAGE);
    }
}
