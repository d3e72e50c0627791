//! The processes of a run.

use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::child::Child;
use crate::leader::resource::{self, Logged};
use crate::leader::{ARMS, Arm, coordination, rpc};
use crate::wire::Wire;

const CANDIDATES: u8 = 3;

pub(super) struct World {
    pub(super) arms: Vec<Standing>,
    coordination: std::net::SocketAddr,
    resource: std::net::SocketAddr,
    _services: [Child; 2],
    _folder: TempDir,
}

/// An arm's candidates.
pub(super) struct Standing {
    pub(super) arm: Arm,
    pub(super) candidates: Vec<Candidate>,
}

pub(super) struct Candidate {
    pub(super) child: Child,
    /// Its way to whoever lends the lease.
    pub(super) wire: Wire,
}

impl World {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().display();
        let service = |name: &str| ["part", name, &format!("{path}")].map(str::to_owned);
        let (lender, coordination) = Child::service(&service("coordination")).await?;
        let (keeper, resource) = Child::service(&service("resource")).await?;
        let mut arms = Vec::new();
        for arm in ARMS {
            let mut candidates = Vec::new();
            for node in 0..CANDIDATES {
                let wire = Wire::lay(coordination)?;
                let (way, node) = (wire.address.to_string(), node.to_string());
                let words = [
                    "part",
                    "candidate",
                    arm.name,
                    &node,
                    &way,
                    &resource.to_string(),
                ];
                let child = Child::start(&words.map(str::to_owned))?;
                candidates.push(Candidate { child, wire });
            }
            arms.push(Standing { arm, candidates });
        }
        Ok(Self {
            arms,
            coordination,
            resource,
            _services: [lender, keeper],
            _folder: folder,
        })
    }

    /// Sets the clock of whoever lends the lease forward.
    pub(super) async fn step(&self, step: Duration) -> anyhow::Result<()> {
        let ms = u64::try_from(step.as_millis())?;
        let ask = coordination::Ask::Step { ms };
        let _: coordination::Answer = rpc::ask(self.coordination, &ask).await?;
        Ok(())
    }

    /// How often each arm's lease was given away.
    pub(super) async fn terms(&self) -> anyhow::Result<Vec<u64>> {
        let mut terms = Vec::new();
        for standing in &self.arms {
            let ask = coordination::Ask::Term(standing.arm.name.to_owned());
            match rpc::ask(self.coordination, &ask).await? {
                coordination::Answer::Acquired { term, .. } => terms.push(term),
                other => bail!("answered {other:?}"),
            }
        }
        Ok(terms)
    }

    /// All writes of each arm.
    pub(super) async fn logs(&self) -> anyhow::Result<Vec<(Arm, Vec<Logged>)>> {
        let mut logs = Vec::new();
        for standing in &self.arms {
            logs.push((standing.arm, standing.log(self).await?));
        }
        Ok(logs)
    }
}

impl Standing {
    async fn log(&self, world: &World) -> anyhow::Result<Vec<Logged>> {
        let arm = self.arm.name.to_owned();
        match rpc::ask(world.resource, &resource::Ask::Log { arm }).await? {
            resource::Answer::Log(log) => Ok(log),
            other => bail!("answered {other:?}"),
        }
    }

    /// Who wrote last.
    pub(super) async fn leader(&self, world: &World) -> anyhow::Result<usize> {
        let log = self.log(world).await?;
        let last = log.iter().rev().find(|logged| logged.accepted);
        let last = last.with_context(|| format!("nobody leads in arm {}", self.arm.name))?;
        Ok(last.write.node.into())
    }
}
