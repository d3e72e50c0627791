//! A bounded queue alone: a place among 50, first come first served, or 503 at once.

use std::sync::Arc;

use super::none::TimeoutOnly;
use super::{Arm, Parts, Runs};
use crate::engine::server::{Handler, router};

/// The usual guess: a queue that takes 125 ms to drain at full capacity.
const QUEUE: usize = 50;

pub(crate) const ARM: Arm = Arm {
    name: "bounded-queue",
    about: "server with a queue of 50, then 503; naive client",
    runs: Runs::OnRequest,
    build: |site| {
        Ok(Parts {
            client: Arc::new(TimeoutOnly::new(site)),
            server: router(&site.work, Handler::bounded_queue(QUEUE)),
        })
    },
};
