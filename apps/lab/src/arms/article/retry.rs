//! `RetryWithBackoff`.

use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;

use crate::engine::client::Failure;

/// Tries up to `max_retries` times; `random` gives a share for the jitter of each attempt.
///
/// Quirk: no budget, so when everything fails the load is multiplied by `max_retries`.
pub(crate) async fn retry_with_backoff<F, Fut>(
    call: F,
    max_retries: u32,
    random: impl Fn(u32) -> f64,
) -> Result<(), Failure>
where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let mut last = Failure::Refused("max retries exceeded");
    for attempt in 0..max_retries {
        match call(attempt).await {
            Ok(()) => return Ok(()),
            Err(error) if is_client_error(&error) => return Err(error),
            Err(error) => last = error,
        }
        let backoff = Duration::from_secs(2_u64.pow(attempt));
        // Quirk: the jitter is added to the backoff, so nobody comes back before the full second.
        let jitter = (backoff / 2).mul_f64(random(attempt));
        // Quirk: sleeps after the last attempt too, and never asks whether the caller still waits.
        sleep(backoff + jitter).await;
    }
    Err(last)
}

/// Quirk: all of 4xx is final, also 408, 425 and 429, which ask for another try.
fn is_client_error(error: &Failure) -> bool {
    matches!(error, Failure::Status(status) if status.is_client_error())
}
