//! `HedgedRequest`.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::engine::client::Failure;

/// Sends a backup after `delay` and takes the first good answer.
///
/// `unread` is told of each good answer for which nobody waited any more.
pub(super) async fn hedged_request<F, Fut>(
    call: F,
    delay: Duration,
    unread: impl Fn() + Clone + Send + 'static,
) -> Result<(), Failure>
where
    F: Fn(u32) -> Fut,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (results, mut answers) = mpsc::channel(2);
    for (attempt, wait) in [(0, Duration::ZERO), (1, delay)] {
        let (request, results, unread) = (call(attempt), results.clone(), unread.clone());
        // Quirk: the backup's timer is never stopped, so the backup is always sent, and the loser
        // is never told to stop: the load is doubled whether or not the first answer is slow.
        tokio::spawn(async move {
            sleep(wait).await;
            let result = request.await;
            let good = result.is_ok();
            if results.send(result).await.is_err() && good {
                unread();
            }
        });
    }
    drop(results);

    // Quirk: when the first fails at once, the backup still waits for its whole delay.
    let mut last = Failure::Refused("both requests failed");
    while let Some(answer) = answers.recv().await {
        match answer {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}
