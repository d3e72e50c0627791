//! `callWithTimeout`.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use crate::engine::client::Failure;

/// Waits so long for the call, and no longer.
///
/// Quirk: in Go the call is not told, and its goroutine goes on until the server answers. Here the
/// request is dropped, which closes its connection. That is kinder than printed: this server works
/// on either way, and tens of thousands of open sockets would measure the machine and not the
/// pattern.
pub(crate) async fn call_with_timeout(
    call: impl Future<Output = Result<(), Failure>>,
    limit: Duration,
) -> Result<(), Failure> {
    timeout(limit, call)
        .await
        .unwrap_or(Err(Failure::DeadlineExceeded))
}
