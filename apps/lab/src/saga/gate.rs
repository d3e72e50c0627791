//! Where the lab can hold a process, so that it dies there and nowhere else.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::order::{Call, Process};
use crate::leader::rpc;

/// A place in a call of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) order: u64,
    pub(crate) call: Call,
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// The orchestrator is about to send.
    Before,
    /// The participant has the request, and nothing has happened.
    Arrived,
    /// It is committed, or refused, and not answered.
    Done,
    /// The orchestrator has read the answer, and noted nothing.
    Replied,
}

impl Place {
    pub(crate) const ALL: [Self; 4] = [Self::Before, Self::Arrived, Self::Done, Self::Replied];
}

/// Where processes are that live.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) orchestrator: Option<SocketAddr>,
    pub(crate) shop: Option<SocketAddr>,
    pub(crate) bank: Option<SocketAddr>,
}

impl Addresses {
    pub(crate) fn of(&self, process: Process) -> Option<SocketAddr> {
        match process {
            Process::Orchestrator => self.orchestrator,
            Process::Shop => self.shop,
            Process::Bank => self.bank,
        }
    }

    pub(crate) fn set(&mut self, process: Process, address: Option<SocketAddr>) {
        *match process {
            Process::Orchestrator => &mut self.orchestrator,
            Process::Shop => &mut self.shop,
            Process::Bank => &mut self.bank,
        } = address;
    }
}

/// The lab, as the processes see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate(pub(crate) SocketAddr);

impl Gate {
    /// Goes on when the lab lets it. Whoever is to die here does.
    pub(crate) async fn pass(self, point: Point) -> anyhow::Result<Addresses> {
        rpc::ask(self.0, &point).await
    }
}
