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

/// None, and a line that says so, where the tests were told to do without a server of this name.
pub(crate) fn variable(server: &str, what: &str) -> Option<String> {
    if std::env::var_os(format!("BACKSTAY_WITHOUT_{server}")).is_some() {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        eprintln!("skipped: {test} needs {server}");
        return None;
    }
    let value = std::env::var(format!("BACKSTAY_{server}_{what}"));
    Some(value.expect("no servers to test with: run `cargo xtask test`"))
}

/// A name that no other test uses.
pub(crate) fn own_name() -> String {
    format!("t_{}", uuid::Uuid::now_v7().simple())
}
