//! Backstay as its user gets it: a pipeline around the client, admission in front of the server.
//!
//! The client states the deadline its caller has, the server how many requests it can work on; all else is the
//! default. The other arms here leave one part out each, or have one part alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use backstay::event::Shed;
use backstay::telemetry::MetricsListener;
use backstay::{
    Admission, Bulkhead, Classified, Event, EventKind, Hedge, HttpClassifier, Phase, Pipeline,
    PipelineBuilder, Policy, Reason,
};
use http::Response;
use tokio::time::{Instant, timeout_at};

use super::{Answer, Arm, Call, Client, Parts, Runs, Site};
use crate::engine::DEADLINE;
use crate::engine::client::{Dependency, Failure};
use crate::engine::server::{Handler, SLOTS, router};

pub(crate) const ALL: Arm = Arm {
    name: super::BACKSTAY,
    about: "pipeline and admission with their defaults",
    runs: Runs::ByDefault,
    build: |site| protected(site, pipeline(site), Handler::Inline),
};

pub(crate) const EVERYTHING: Arm = Arm {
    name: super::BACKSTAY_EVERYTHING,
    about: "backstay with a bulkhead and a hedge too: every policy there is",
    runs: Runs::OnRequest,
    build: |site| {
        let pipeline = pipeline(site)
            .bulkhead(Bulkhead::limit(BULKHEAD).queue(BULKHEAD))
            .hedge(Hedge::at_quantile(0.95));
        protected(site, pipeline, Handler::Inline)
    },
};

/// Eight times what the server works on at once: never the bottleneck while all is well.
const BULKHEAD: u32 = 64;

pub(crate) const BUDGET_ONLY: Arm = Arm {
    name: super::BUDGET_ONLY,
    about: "the article's way, a time for each attempt and none for the call, with backstay's retry and budget",
    runs: Runs::ByDefault,
    build: |site| unprotected(site, retries(site), Handler::GoesOn),
};

pub(crate) const RETRY_ONLY: Arm = Arm {
    name: "retry-only",
    about: "budget-only without the budget",
    runs: Runs::OnRequest,
    build: |site| {
        let pipeline = retries(site).without(Policy::Budget);
        unprotected(site, pipeline, Handler::GoesOn)
    },
};

pub(crate) const NO_CANCEL: Arm = Arm {
    name: "backstay-no-cancel",
    about: "backstay before a handler that goes on when its caller hangs up",
    runs: Runs::OnRequest,
    build: |site| protected(site, pipeline(site), Handler::GoesOn),
};

pub(crate) const NO_ADMISSION: Arm = Arm {
    name: "backstay-no-admission",
    about: "backstay without admission",
    runs: Runs::OnRequest,
    build: |site| unprotected(site, pipeline(site), Handler::Inline),
};

pub(crate) const NO_BUDGET: Arm = Arm {
    name: "backstay-no-budget",
    about: "backstay without the budget",
    runs: Runs::OnRequest,
    build: |site| without(site, Policy::Budget),
};

pub(crate) const NO_RETRY: Arm = Arm {
    name: "backstay-no-retry",
    about: "backstay without retry",
    runs: Runs::OnRequest,
    build: |site| without(site, Policy::Retry),
};

pub(crate) const NO_BREAKER: Arm = Arm {
    name: "backstay-no-breaker",
    about: "backstay without the breaker",
    runs: Runs::OnRequest,
    build: |site| without(site, Policy::Breaker),
};

pub(crate) const NO_ATTEMPT_TIMEOUT: Arm = Arm {
    name: "backstay-no-attempt-timeout",
    about: "backstay without the attempt timeout",
    runs: Runs::OnRequest,
    build: |site| without(site, Policy::AttemptTimeout),
};

pub(crate) const NO_DEADLINE: Arm = Arm {
    name: "backstay-no-deadline",
    about: "backstay without the deadline: a timeout around the call that nobody is told of",
    runs: Runs::OnRequest,
    build: |site| without(site, Policy::Deadline),
};

fn pipeline(site: &Site) -> PipelineBuilder {
    Pipeline::builder(site.arm)
}

/// Retry with a time for each attempt, and nothing that ends the call.
fn retries(site: &Site) -> PipelineBuilder {
    pipeline(site)
        .without(Policy::Deadline)
        .without(Policy::Breaker)
        .attempt_timeout(DEADLINE)
}

fn without(site: &Site, policy: Policy) -> anyhow::Result<Parts> {
    protected(site, pipeline(site).without(policy), Handler::Inline)
}

fn protected(site: &Site, pipeline: PipelineBuilder, handler: Handler) -> anyhow::Result<Parts> {
    let counts = Arc::new(Counts {
        hedges: site.arm == EVERYTHING.name,
        ..Counts::default()
    });
    let heard = counts.clone();
    let mut admission = Admission::builder()
        .name(site.arm)
        .limit(u32::try_from(SLOTS)?)
        .listener(move |event: &Event<'_>| heard.hear(event));
    if site.metrics {
        admission = admission.listener(MetricsListener::new());
    }
    let admission = admission.build()?;
    let server = router(&site.work, handler).layer(admission.layer());
    parts(site, pipeline, counts, server)
}

fn unprotected(site: &Site, pipeline: PipelineBuilder, handler: Handler) -> anyhow::Result<Parts> {
    parts(site, pipeline, Arc::default(), router(&site.work, handler))
}

fn parts(
    site: &Site,
    pipeline: PipelineBuilder,
    counts: Arc<Counts>,
    server: Router,
) -> anyhow::Result<Parts> {
    let heard = counts.clone();
    let mut pipeline = pipeline.listener(move |event: &Event<'_>| heard.hear(event));
    if site.metrics {
        pipeline = pipeline.listener(MetricsListener::new());
    }
    let client = Protected {
        dependency: site.dependency.clone(),
        waits: Waits::of(site.arm),
        pipeline: pipeline.build()?.classified(HttpClassifier),
        counts,
    };
    Ok(Parts {
        client: Arc::new(client),
        server,
    })
}

/// A client whose calls go through a pipeline.
#[derive(Debug)]
struct Protected {
    dependency: Dependency,
    waits: Waits,
    pipeline: Classified<HttpClassifier>,
    counts: Arc<Counts>,
}

/// How the end of the caller's patience reaches the call.
#[derive(Debug)]
enum Waits {
    /// The pipeline knows it, and with it the server.
    Told,
    /// A timeout around the call, which nobody is told of.
    Untold,
    /// Never: the caller takes late answers too, like the article's.
    Always,
}

impl Waits {
    fn of(arm: &str) -> Self {
        if arm == NO_DEADLINE.name {
            Self::Untold
        } else if arm == BUDGET_ONLY.name || arm == RETRY_ONLY.name {
            Self::Always
        } else {
            Self::Told
        }
    }
}

impl Client for Protected {
    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            let left: Duration = call.deadline.saturating_duration_since(Instant::now());
            let protected = self.pipeline.call_idempotent(async |attempt| {
                let number = attempt.number() - 1;
                let sent = self.dependency.send(call.index, number, attempt.headers());
                Ok::<_, Failure>(Response::from_parts(sent.await?, ()))
            });
            let answer = match self.waits {
                Waits::Told => protected.deadline(left).await,
                Waits::Untold => timeout_at(call.deadline, protected)
                    .await
                    .map_err(|_| Failure::DeadlineExceeded)?,
                Waits::Always => protected.await,
            };
            match answer {
                Ok(response) if response.status().is_success() => Ok(()),
                Ok(response) => Err(Failure::Status(response.status())),
                Err(error) => Err(match error.into_reason() {
                    Reason::Operation(failure) => failure,
                    Reason::TimedOut => Failure::DeadlineExceeded,
                    _ => Failure::Refused("backstay refuses the call"),
                }),
            }
        })
    }

    fn openings(&self) -> Option<u64> {
        Some(self.counts.openings.load(Relaxed))
    }

    fn sheds(&self) -> Option<u64> {
        Some(self.counts.sheds.load(Relaxed))
    }
}

/// What `healthy` must not see.
#[derive(Debug, Default)]
struct Counts {
    openings: AtomicU64,
    sheds: AtomicU64,
    hedges: bool,
}

impl Counts {
    fn hear(&self, event: &Event<'_>) {
        match event.kind {
            EventKind::Breaker(change) if change.to == Phase::Open => {
                self.openings.fetch_add(1, Relaxed);
            }
            // The loser of a hedge hangs up: it was not refused.
            EventKind::Shed {
                reason: Shed::CallerGone,
            } if self.hedges => {}
            EventKind::Rejected { .. } | EventKind::Shed { .. } => {
                self.sheds.fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }
}
