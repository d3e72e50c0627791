//! The servers of the tests.

use std::sync::Arc;

use backstay_lease::conformance::Subject;
use backstay_lease::{ConnectError, Leases};
use futures_util::future::BoxFuture;

/// A home on a server, which may be reached by another way.
pub(crate) trait Site: Subject {
    /// It names the server's host and port.
    fn url(&self) -> &str;

    fn open_at(&self, url: String) -> BoxFuture<'_, Result<Arc<dyn Leases>, ConnectError>>;
}
