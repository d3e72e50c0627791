//! Where the lab can hold an order, so that a process dies there and nowhere else.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::order::{Asked, Change, Process};
use crate::leader::rpc;

/// A place in a change of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) order: i64,
    pub(crate) change: Change,
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Place {
    /// The writer has the request, and nothing has happened.
    Arrived,
    /// It is committed, and not published.
    Written,
    /// The reader has it, and nothing has happened there.
    Published,
    /// It is committed there, and not answered.
    Handled,
    /// The writer has read the reader's answer, and noted nothing.
    Taken,
    /// The customer has the writer's answer, and has not read.
    Answered,
}

impl Place {
    pub(crate) const ALL: [Self; 6] = [
        Self::Arrived,
        Self::Written,
        Self::Published,
        Self::Handled,
        Self::Taken,
        Self::Answered,
    ];

    /// Whether it is on the way from the writer to the reader.
    pub(crate) fn is_between(self) -> bool {
        !matches!(self, Self::Arrived | Self::Answered)
    }
}

impl Asked {
    pub(crate) fn at(self, place: Place) -> Point {
        Point {
            order: self.order.number,
            change: self.change,
            place,
        }
    }
}

/// Where processes are that live.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) writer: Option<SocketAddr>,
    pub(crate) reader: Option<SocketAddr>,
}

impl Addresses {
    pub(crate) fn set(&mut self, process: Process, address: Option<SocketAddr>) {
        *match process {
            Process::Writer => &mut self.writer,
            Process::Reader => &mut self.reader,
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
