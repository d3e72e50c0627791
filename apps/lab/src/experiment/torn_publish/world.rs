//! A writer, a reader, the orders that go from one to the other, and the one of them that is killed.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::HeaderMap;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::plan::Planned;
use crate::child::Child;
use crate::leader::rpc;
use crate::saga::http::post;
use crate::torn::customer::{self, Read};
use crate::torn::gate::{Addresses, Place, Point};
use crate::torn::order::{Asked, Process, Side, Standing};
use crate::torn::{Arm, read_side, write_side};

/// All orders are where they should be long before; else the run is void.
const REACHED_WITHIN: Duration = Duration::from_secs(20);
/// As long as a process needs to be started by somebody else, so that who asks at once finds nobody.
const AWAY: Duration = Duration::from_millis(300);
/// So long after its process is back a world has time to become equal: a claim of a dead process, and as much again.
pub(super) const EQUAL_WITHIN: Duration = Duration::from_secs(20);
/// How often both sides are asked for their checksums.
const LOOK: Duration = Duration::from_millis(100);

/// What a world is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) arm: Arm,
    pub(super) victim: Process,
}

pub(super) struct World {
    setting: Setting,
    folder: PathBuf,
    start: Instant,
    plan: Vec<Planned>,
    children: HashMap<Process, Child>,
    gate: SocketAddr,
    lab: Arc<Lab>,
    serving: JoinHandle<()>,
    reads: Vec<(Asked, Read)>,
    killed: Option<(Duration, Duration)>,
    equal_after: Option<Duration>,
}

/// The lab's side of the gate.
struct Lab {
    points: HashSet<Point>,
    reached: watch::Sender<HashSet<Point>>,
    /// Whether the process is dead.
    struck: watch::Sender<bool>,
    addresses: watch::Sender<Addresses>,
}

/// What there is to know of a world in the end.
pub(super) struct Ended {
    pub(super) setting: Setting,
    pub(super) plan: Vec<Planned>,
    pub(super) write: Side,
    pub(super) read: Side,
    pub(super) reads: Vec<(Asked, Read)>,
    pub(super) reached: usize,
    /// When the process was dead, and when it was there again, after the world's start.
    pub(super) killed: Option<(Duration, Duration)>,
    /// How long after the kill both sides became equal for good; none if they did not.
    pub(super) equal_after: Option<Duration>,
}

impl World {
    pub(super) async fn start(
        setting: Setting,
        plan: Vec<Planned>,
        folder: PathBuf,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir(&folder)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let gate = listener.local_addr()?;
        let lab = Arc::new(Lab {
            points: plan.iter().map(|planned| planned.point).collect(),
            reached: watch::Sender::default(),
            struck: watch::Sender::default(),
            addresses: watch::Sender::default(),
        });
        let serving = {
            let lab = lab.clone();
            tokio::spawn(rpc::serve(listener, move |point| {
                let lab = lab.clone();
                async move { lab.pass(point).await }
            }))
        };
        let mut world = Self {
            setting,
            folder,
            start: Instant::now(),
            plan,
            children: HashMap::new(),
            gate,
            lab,
            serving,
            reads: Vec::new(),
            killed: None,
            equal_after: None,
        };
        for process in Process::ALL {
            world.launch(process).await?;
        }
        Ok(world)
    }

    async fn launch(&mut self, process: Process) -> anyhow::Result<()> {
        let (folder, gate) = (self.folder.display().to_string(), self.gate.to_string());
        let words = [
            "part",
            process.name(),
            self.setting.arm.name,
            &folder,
            &gate,
        ];
        let (child, address) = Child::service(&words.map(str::to_owned)).await?;
        self.children.insert(process, child);
        self.lab.lead_to(process, Some(address));
        Ok(())
    }

    /// Has all changes made, kills the process when each order is at its point, and ends when both sides have had time to
    /// become equal.
    pub(super) async fn play(&mut self) -> anyhow::Result<()> {
        let mut customers = JoinSet::new();
        for planned in self.plan.iter().copied() {
            customers.spawn(order(planned, self.lab.clone()));
        }
        let mut reached = self.lab.reached.subscribe();
        let is_there = |reached: &HashSet<Point>| reached.len() == self.plan.len();
        // Those that are missing void the run.
        let _ = timeout(REACHED_WITHIN, reached.wait_for(is_there)).await;
        self.kill_and_restart().await?;
        while let Some(reads) = customers.join_next().await {
            self.reads.extend(reads?);
        }
        self.watch().await
    }

    async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        let victim = self.setting.victim;
        let child = self.children.get_mut(&victim).context("it was started")?;
        child.signal(Signal::KILL)?;
        let was_killed = child.was_killed().await?;
        self.lab.lead_to(victim, None);
        let dead = self.start.elapsed();
        self.lab.struck.send_replace(true);
        sleep(AWAY).await;
        self.launch(victim).await?;
        self.killed = was_killed.then(|| (dead, self.start.elapsed()));
        Ok(())
    }

    /// Until both sides are equal and the writer has nothing left to send, or have had their time.
    async fn watch(&mut self) -> anyhow::Result<()> {
        // Else the run is void.
        let Some((dead, back)) = self.killed else {
            return Ok(());
        };
        let until = self.start + back + EQUAL_WITHIN;
        loop {
            let at = self.start.elapsed();
            let (is_equal, is_at_rest) = match self.standings().await {
                Ok((write, read)) => (write.checksum == read.checksum, write.is_at_rest),
                Err(_) => (false, false),
            };
            self.equal_after = match self.equal_after {
                since @ Some(_) if is_equal => since,
                _ => is_equal.then(|| at.saturating_sub(dead)),
            };
            if (is_equal && is_at_rest) || Instant::now() >= until {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    /// The writer's, and then the reader's.
    async fn standings(&self) -> anyhow::Result<(Standing, Standing)> {
        let Addresses { writer, reader } = *self.lab.addresses.borrow();
        Ok((standing(writer).await?, standing(reader).await?))
    }

    /// Ends both processes, and reads what they have left.
    pub(super) async fn end(mut self) -> anyhow::Result<Ended> {
        for child in self.children.values_mut() {
            // Where the run was interrupted it may have ended already.
            let _ = child.signal(Signal::KILL);
            child.was_killed().await?;
        }
        self.serving.abort();
        let write = write_side::left(self.setting.arm.way, &self.folder).await?;
        let read = read_side::left(&self.folder).await?;
        let reached = self.lab.reached.borrow().len();
        Ok(Ended {
            setting: self.setting,
            plan: self.plan,
            write,
            read,
            reads: self.reads,
            reached,
            killed: self.killed,
            equal_after: self.equal_after,
        })
    }
}

/// All changes of an order, each read at once when it is answered.
async fn order(planned: Planned, lab: Arc<Lab>) -> Vec<(Asked, Read)> {
    let known = lab.addresses.subscribe();
    let mut reads = Vec::new();
    for change in planned.point.change.and_before() {
        let asked = Asked {
            order: planned.order,
            change: *change,
        };
        let position = customer::write(asked, &known).await;
        lab.pass(asked.at(Place::Answered)).await;
        reads.push((asked, customer::read(asked, position, &known).await));
    }
    reads
}

async fn standing(address: Option<SocketAddr>) -> anyhow::Result<Standing> {
    let address = address.context("nobody is there")?;
    let answer = post(address, "standing", HeaderMap::new(), &()).await?;
    Ok(serde_json::from_slice(answer.body())?)
}

impl Lab {
    /// Holds an order that comes to its point until the process is dead. Who comes later was not there.
    async fn pass(&self, point: Point) -> Addresses {
        if self.points.contains(&point) && !*self.struck.borrow() {
            self.reached
                .send_if_modified(|reached| reached.insert(point));
            // It can't be closed while this has a sender.
            let _ = self.struck.subscribe().wait_for(|struck| *struck).await;
        }
        *self.addresses.borrow()
    }

    fn lead_to(&self, process: Process, address: Option<SocketAddr>) {
        self.addresses
            .send_modify(|addresses| addresses.set(process, address));
    }
}
