//! An arm under load: its client, its server, and the log of its calls.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::client::Dependency;
use super::measure::Log;
use super::plan::Plan;
use super::server::{self, Fault, Server, Service, Work};
use crate::arms::{Arm, Client, Site};

/// What all arms of a run have in common.
#[derive(Debug)]
pub(crate) struct Conditions {
    pub(crate) seed: u64,
    pub(crate) start: Instant,
    pub(crate) plan: Plan,
    pub(crate) fault: Fault,
    pub(crate) arrivals: Vec<Duration>,
    /// Whether somebody scrapes the metrics.
    pub(crate) metrics: bool,
}

/// One arm, started. Dropping it stops its server.
pub(crate) struct Running {
    pub(crate) arm: &'static Arm,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) work: Arc<Work>,
    pub(crate) log: Arc<Log>,
    _server: Server,
}

/// Starts an arm's server and builds its client.
pub(crate) async fn start(arm: &'static Arm, conditions: &Conditions) -> anyhow::Result<Running> {
    let work = Work::new(
        Service::Seeded(conditions.seed),
        conditions.start,
        conditions.plan,
        conditions.fault,
    );
    let listener = server::listen().await?;
    let dependency = Dependency::new(listener.local_addr()?);
    let site = Site {
        arm: arm.name,
        seed: conditions.seed,
        metrics: conditions.metrics,
        dependency,
        work: work.clone(),
    };
    let parts = (arm.build)(&site).with_context(|| format!("arm {} can't be built", arm.name))?;
    Ok(Running {
        arm,
        client: parts.client,
        log: Arc::new(Log::new(&conditions.arrivals)),
        _server: server::serve(listener, parts.server, &work),
        work,
    })
}
