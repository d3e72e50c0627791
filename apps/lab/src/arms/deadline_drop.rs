//! Deadline propagation alone: the server does not start work whose caller has given up.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, timeout_at};

use super::{Answer, Arm, Call, Client, Parts, Runs};
use crate::engine::client::{Dependency, Failure};
use crate::engine::server::{Handler, TIME_LEFT, router};

pub(crate) const ARM: Arm = Arm {
    name: "deadline-drop",
    about: "server drops work whose deadline has passed before it starts; naive client",
    runs: Runs::OnRequest,
    build: |site| {
        Ok(Parts {
            client: Arc::new(TellsDeadline {
                dependency: site.dependency.clone(),
            }),
            server: router(&site.work, Handler::DropExpired),
        })
    },
};

/// One attempt with a timeout, which says how long it will wait.
#[derive(Debug)]
struct TellsDeadline {
    dependency: Dependency,
}

impl Client for TellsDeadline {
    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            let left = call
                .deadline
                .saturating_duration_since(Instant::now())
                .as_millis();
            let left = u64::try_from(left).unwrap_or(u64::MAX);
            let headers = HeaderMap::from_iter([(TIME_LEFT, HeaderValue::from(left))]);
            let attempt = self.dependency.attempt(call.index, 0, headers);
            timeout_at(call.deadline, attempt)
                .await
                .unwrap_or(Err(Failure::DeadlineExceeded))
        })
    }
}
