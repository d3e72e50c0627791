//! Backstay as its user gets it: a pipeline around the client, admission in front of the server.
//!
//! Nothing is tuned for the lab. The client states the deadline its caller has, the server how many requests it
//! can work on. The other arms here leave one part out each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use backstay::telemetry::MetricsListener;
use backstay::{
    Admission, Classified, Event, EventKind, HttpClassifier, Phase, Pipeline, PipelineBuilder,
    Policy, Reason,
};
use http::Response;
use tokio::time::{Instant, timeout_at};

use super::{Answer, Arm, Call, Client, Parts, Runs, Site};
use crate::engine::client::{Dependency, Failure};
use crate::engine::server::{Handler, SLOTS, router};

pub(crate) const ALL: Arm = Arm {
    name: super::BACKSTAY,
    about: "pipeline and admission with their defaults",
    runs: Runs::ByDefault,
    build: |site| protected(site, pipeline(site)),
};

pub(crate) const BUDGET_ONLY: Arm = Arm {
    name: "budget-only",
    about: "budget and deadline, no breaker; naive server, whose only failure is the deadline: nothing is repeated",
    runs: Runs::ByDefault,
    build: |site| {
        unprotected(
            site,
            pipeline(site)
                .without(Policy::Breaker)
                .without(Policy::AttemptTimeout),
        )
    },
};

pub(crate) const NO_ADMISSION: Arm = Arm {
    name: "backstay-no-admission",
    about: "backstay without admission: the pipeline before a naive server",
    runs: Runs::OnRequest,
    build: |site| unprotected(site, pipeline(site)),
};

pub(crate) const NO_BUDGET: Arm = Arm {
    name: "backstay-no-budget",
    about: "backstay without the budget",
    runs: Runs::OnRequest,
    build: |site| protected(site, pipeline(site).without(Policy::Budget)),
};

pub(crate) const NO_RETRY: Arm = Arm {
    name: "backstay-no-retry",
    about: "backstay without retry",
    runs: Runs::OnRequest,
    build: |site| protected(site, pipeline(site).without(Policy::Retry)),
};

pub(crate) const NO_BREAKER: Arm = Arm {
    name: "backstay-no-breaker",
    about: "backstay without the breaker",
    runs: Runs::OnRequest,
    build: |site| protected(site, pipeline(site).without(Policy::Breaker)),
};

pub(crate) const NO_ATTEMPT_TIMEOUT: Arm = Arm {
    name: "backstay-no-attempt-timeout",
    about: "backstay without the attempt timeout",
    runs: Runs::OnRequest,
    build: |site| protected(site, pipeline(site).without(Policy::AttemptTimeout)),
};

pub(crate) const NO_DEADLINE: Arm = Arm {
    name: "backstay-no-deadline",
    about: "backstay without the deadline: a timeout around the call that nobody is told of",
    runs: Runs::OnRequest,
    build: |site| protected(site, pipeline(site).without(Policy::Deadline)),
};

fn pipeline(site: &Site) -> PipelineBuilder {
    Pipeline::builder(site.arm)
}

fn protected(site: &Site, pipeline: PipelineBuilder) -> anyhow::Result<Parts> {
    let counts = Arc::<Counts>::default();
    let heard = counts.clone();
    let mut admission = Admission::builder()
        .name(site.arm)
        .limit(u32::try_from(SLOTS)?)
        .listener(move |event: &Event<'_>| heard.hear(event));
    if site.metrics {
        admission = admission.listener(MetricsListener::new());
    }
    let admission = admission.build()?;
    let server = router(&site.work, Handler::Inline).layer(admission.layer());
    parts(site, pipeline, counts, server)
}

fn unprotected(site: &Site, pipeline: PipelineBuilder) -> anyhow::Result<Parts> {
    parts(
        site,
        pipeline,
        Arc::default(),
        router(&site.work, Handler::Naive),
    )
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
        tells_deadline: site.arm != NO_DEADLINE.name,
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
    /// Whether the pipeline knows until when its caller waits, and with it the server.
    tells_deadline: bool,
    pipeline: Classified<HttpClassifier>,
    counts: Arc<Counts>,
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
            let answer = if self.tells_deadline {
                protected.deadline(left).await
            } else {
                let patience = timeout_at(call.deadline, protected).await;
                patience.map_err(|_| Failure::DeadlineExceeded)?
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
}

impl Counts {
    fn hear(&self, event: &Event<'_>) {
        match event.kind {
            EventKind::Breaker(change) if change.to == Phase::Open => {
                self.openings.fetch_add(1, Relaxed);
            }
            EventKind::Rejected { .. } | EventKind::Shed { .. } => {
                self.sheds.fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }
}
