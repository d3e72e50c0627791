//! Well-known libraries as real crates, with what their documentation recommends.
//!
//! Only the times are ours, because no library knows the caller's deadline. The server is
//! that of backstay's arms without admission: a library for clients brings none.

mod seatbelt;
mod tower_resilience;

pub(crate) use seatbelt::ARM as SEATBELT;
pub(crate) use tower_resilience::ARM as TOWER_RESILIENCE;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::HeaderMap;

use super::{Answer, Arm, Call, Client, Parts, Runs, Site};
use crate::engine::DEADLINE;
use crate::engine::client::{Dependency, Failure};
use crate::engine::server::{Handler, router};

fn parts(site: &Site, client: impl Client + 'static) -> Parts {
    Parts {
        client: Arc::new(client),
        server: router(&site.work, Handler::Inline),
    }
}

/// What the libraries clone for each attempt. The clones count the attempts together.
#[derive(Clone, Debug)]
struct Input {
    call: u64,
    attempts: Arc<AtomicU32>,
}

impl Input {
    fn of(call: Call) -> Self {
        Self {
            call: call.index,
            attempts: Arc::default(),
        }
    }

    /// The operation under protection: one HTTP request.
    async fn send(self, dependency: Dependency) -> Result<(), Failure> {
        let attempt = self.attempts.fetch_add(1, Relaxed);
        dependency
            .attempt(self.call, attempt, HeaderMap::new())
            .await
    }
}

/// What both libraries leave to their user: the caller's own mistakes are not tried again.
fn is_transient(failure: &Failure) -> bool {
    !matches!(failure, Failure::Status(status) if status.is_client_error())
}

#[cfg(test)]
mod tests;
