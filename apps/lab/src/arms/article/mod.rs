//! The article's snippets as printed, from Go, each with its quirks named where they are.
//!
//! Logging is left out. The call itself (`fn` in Go) is one HTTP request.

mod breaker;
mod bulkhead;
mod hedge;
pub(crate) mod idempotent;
pub(crate) mod retry;
pub(crate) mod timeout;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::{Answer, Arm, Call, Client, Parts, Runs, Site};
use crate::engine::DEADLINE;
use crate::engine::client::{Dependency, Failure};
use crate::engine::draw::{Purpose, unit};
use crate::engine::server::{Handler, Work, router};
use breaker::CircuitBreaker;
use bulkhead::BulkheadExecutor;
use hedge::hedged_request;
use retry::retry_with_backoff;
use timeout::call_with_timeout;

/// The article's own number of tries.
pub(crate) const MAX_RETRIES: u32 = 3;
/// The article gives no numbers for its breaker; these are the usual ones.
const MAX_FAILURES: u32 = 5;
const OPEN_FOR: Duration = Duration::from_secs(5);
/// The article's pool for a database.
const POOL: (&str, usize) = ("database", 20);
/// The article gives no delay; this is the 95th percentile of the healthy service time.
const HEDGE_AFTER: Duration = Duration::from_millis(60);

pub(crate) const RETRY: Arm = Arm {
    name: super::ARTICLE_RETRY,
    about: "the article's retry around its timeout",
    runs: Runs::ByDefault,
    build: |site| Ok(parts(site, Arc::new(Retry(Attempts::new(site))))),
};

pub(crate) const BREAKER: Arm = Arm {
    name: super::ARTICLE_BREAKER,
    about: "the article's circuit breaker around its timeout; its mutex makes calls go one by one",
    runs: Runs::ByDefault,
    build: |site| {
        let breaker = CircuitBreaker::new(MAX_FAILURES, OPEN_FOR);
        Ok(parts(
            site,
            Arc::new(Breaker {
                breaker,
                attempts: Attempts::new(site),
            }),
        ))
    },
};

pub(crate) const ALL: Arm = Arm {
    name: super::ARTICLE_ALL,
    about: "the article's retry, breaker, bulkhead and timeout, in this order",
    runs: Runs::ByDefault,
    build: |site| {
        let breaker = CircuitBreaker::new(MAX_FAILURES, OPEN_FOR);
        let bulkhead = BulkheadExecutor::new(&[POOL]);
        Ok(parts(
            site,
            Arc::new(All {
                breaker,
                bulkhead,
                attempts: Attempts::new(site),
            }),
        ))
    },
};

pub(crate) const HEDGE: Arm = Arm {
    name: "article-hedge",
    about: "the article's request hedging around its timeout",
    runs: Runs::OnRequest,
    build: |site| {
        Ok(parts(
            site,
            Arc::new(Hedge {
                work: site.work.clone(),
                attempts: Attempts::new(site),
            }),
        ))
    },
};

fn parts(site: &Site, client: Arc<dyn Client>) -> Parts {
    Parts {
        client,
        server: router(&site.work, Handler::GoesOn),
    }
}

/// `callWithTimeout` around the request: what all of the article's patterns protect here.
#[derive(Clone, Debug)]
struct Attempts {
    seed: u64,
    dependency: Dependency,
}

impl Attempts {
    fn new(site: &Site) -> Self {
        Self {
            seed: site.seed,
            dependency: site.dependency.clone(),
        }
    }

    async fn make(&self, call: u64, attempt: u32) -> Result<(), Failure> {
        // A fixed time for each attempt: the call's own deadline is never looked at.
        call_with_timeout(
            self.dependency.attempt(call, attempt, HeaderMap::new()),
            DEADLINE,
        )
        .await
    }

    /// `rand.Int63n`, as a share, from the run's seed.
    fn random(&self, call: u64, attempt: u32) -> f64 {
        unit(self.seed, Purpose::Jitter, call, attempt)
    }
}

struct Retry(Attempts);

impl Client for Retry {
    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(retry_with_backoff(
            move |attempt| self.0.make(call.index, attempt),
            MAX_RETRIES,
            move |attempt| self.0.random(call.index, attempt),
        ))
    }
}

struct Breaker {
    breaker: CircuitBreaker,
    attempts: Attempts,
}

impl Client for Breaker {
    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(self.breaker.call(move || self.attempts.make(call.index, 0)))
    }
}

struct All {
    breaker: CircuitBreaker,
    bulkhead: BulkheadExecutor,
    attempts: Attempts,
}

impl Client for All {
    fn call(&self, call: Call) -> Answer<'_> {
        let attempt = move |attempt| {
            self.breaker.call(move || {
                self.bulkhead
                    .execute(POOL.0, move || self.attempts.make(call.index, attempt))
            })
        };
        let random = move |attempt| self.attempts.random(call.index, attempt);
        Box::pin(retry_with_backoff(attempt, MAX_RETRIES, random))
    }
}

struct Hedge {
    work: Arc<Work>,
    attempts: Attempts,
}

impl Client for Hedge {
    fn call(&self, call: Call) -> Answer<'_> {
        let attempts = self.attempts.clone();
        let request = move |attempt| {
            let attempts = attempts.clone();
            async move { attempts.make(call.index, attempt).await }
        };
        let work = self.work.clone();
        Box::pin(hedged_request(request, HEDGE_AFTER, move || {
            work.count_wasted();
        }))
    }
}

#[cfg(test)]
mod tests;
