//! No protection but a timeout: one attempt, abandoned at the deadline.

use std::sync::Arc;

use http::HeaderMap;
use tokio::time::timeout_at;

use super::{Answer, Arm, Call, Client, Parts, Runs, Site};
use crate::engine::client::{Dependency, Failure};
use crate::engine::server::{Handler, router};

pub(crate) const ARM: Arm = Arm {
    name: super::NONE,
    about: "timeout only, no retry",
    runs: Runs::ByDefault,
    build: |site| {
        Ok(Parts {
            client: Arc::new(TimeoutOnly::new(site)),
            server: router(&site.work, Handler::GoesOn),
        })
    },
};

pub(crate) const CANCELS: Arm = Arm {
    name: super::NONE_CANCELS,
    about: "none, before a server that stops when its caller hangs up, as in the arms of backstay",
    runs: Runs::OnRequest,
    build: |site| {
        Ok(Parts {
            client: Arc::new(TimeoutOnly::new(site)),
            server: router(&site.work, Handler::Inline),
        })
    },
};

/// One attempt with a timeout. Also the client of the arms that protect only the server.
#[derive(Debug)]
pub(super) struct TimeoutOnly {
    dependency: Dependency,
}

impl TimeoutOnly {
    pub(super) fn new(site: &Site) -> Self {
        Self {
            dependency: site.dependency.clone(),
        }
    }
}

impl Client for TimeoutOnly {
    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            let attempt = self.dependency.attempt(call.index, 0, HeaderMap::new());
            timeout_at(call.deadline, attempt)
                .await
                .unwrap_or(Err(Failure::DeadlineExceeded))
        })
    }
}
