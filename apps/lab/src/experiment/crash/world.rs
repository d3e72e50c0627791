//! Three processes, the orders that they take, and the one of them that is killed.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::plan::Planned;
use crate::child::Child;
use crate::leader::rpc;
use crate::saga::books::{Row, rows};
use crate::saga::customer::{self, Told};
use crate::saga::gate::{Addresses, Point};
use crate::saga::order::Process;
use crate::saga::{Arm, Way};

/// All orders are where they should be long before; else the run is void.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// As long as a process needs to be started by somebody else, so that who asks at once finds nobody.
const AWAY: Duration = Duration::from_millis(300);

pub(super) struct World {
    arm: Arm,
    pub(super) victim: Process,
    folder: PathBuf,
    start: Instant,
    plan: Vec<Planned>,
    /// Orders that get to their point in this arm.
    to_reach: usize,
    children: HashMap<Process, Child>,
    gate: SocketAddr,
    lab: Arc<Lab>,
    serving: JoinHandle<()>,
    killed: Option<(Duration, Duration)>,
}

/// The lab's side of the gate.
struct Lab {
    points: HashSet<Point>,
    seen: watch::Sender<Seen>,
    /// Whether the process is dead.
    struck: watch::Sender<bool>,
    addresses: watch::Sender<Addresses>,
}

/// How far orders are.
#[derive(Default)]
struct Seen {
    reached: HashSet<Point>,
    told: HashMap<u64, Told>,
}

/// What there is to know of a world in the end.
pub(super) struct Ended {
    pub(super) arm: Arm,
    pub(super) victim: Process,
    pub(super) orders: Vec<(Planned, Option<Told>)>,
    pub(super) rows: Vec<Row>,
    pub(super) to_reach: usize,
    pub(super) reached: usize,
    /// When the process was dead, and when it was there again.
    pub(super) killed: Option<(Duration, Duration)>,
}

impl World {
    pub(super) async fn start(
        arm: Arm,
        victim: Process,
        plan: Vec<Planned>,
        folder: PathBuf,
        start: Instant,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir(&folder)?;
        // Who undoes nothing gets to no undo.
        let can_reach = |planned: &&Planned| arm.way != Way::None || !planned.point.call.is_undo();
        let points: HashSet<Point> = plan
            .iter()
            .filter(can_reach)
            .map(|planned| planned.point)
            .collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let gate = listener.local_addr()?;
        let lab = Arc::new(Lab {
            points,
            seen: watch::Sender::default(),
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
            arm,
            victim,
            folder,
            start,
            plan,
            to_reach: lab.points.len(),
            children: HashMap::new(),
            gate,
            lab,
            serving,
            killed: None,
        };
        for process in Process::ALL {
            world.launch(process).await?;
        }
        Ok(world)
    }

    pub(super) fn orders(&self) -> usize {
        self.plan.len()
    }

    async fn launch(&mut self, process: Process) -> anyhow::Result<()> {
        let (folder, gate) = (self.folder.display().to_string(), self.gate.to_string());
        let arm = self.arm.name;
        let words: Vec<&str> = match process {
            Process::Orchestrator => vec!["part", "orchestrator", arm, &folder, &gate],
            service => vec!["part", "participant", arm, service.name(), &folder, &gate],
        };
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let (child, address) = Child::service(&words).await?;
        self.children.insert(process, child);
        self.lab.lead_to(process, Some(address));
        Ok(())
    }

    /// Has all orders placed, kills the process when each is at its point, and ends when every customer has an answer.
    pub(super) async fn play(&mut self) -> anyhow::Result<()> {
        let mut customers = JoinSet::new();
        for Planned { order, .. } in self.plan.iter().copied() {
            let lab = self.lab.clone();
            customers.spawn(async move {
                let told = customer::place(order, lab.addresses.subscribe()).await;
                lab.hear(order.number, told);
            });
        }
        let mut seen = self.lab.seen.subscribe();
        // Who is held is told nothing. An order that gets to no point in this arm is not to be caught on its way.
        let is_quiet = |seen: &Seen| seen.reached.len() + seen.told.len() == self.plan.len();
        // Those that are missing void the run.
        let _ = timeout(REACHED_WITHIN, seen.wait_for(is_quiet)).await;
        self.kill_and_restart().await?;
        while customers.join_next().await.is_some() {}
        Ok(())
    }

    async fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        if let Some(child) = self.children.get_mut(&self.victim) {
            child.signal(Signal::KILL)?;
            let was_killed = child.was_killed().await?;
            self.lab.lead_to(self.victim, None);
            let dead = self.start.elapsed();
            self.lab.struck.send_replace(true);
            sleep(AWAY).await;
            self.launch(self.victim).await?;
            self.killed = was_killed.then(|| (dead, self.start.elapsed()));
        }
        Ok(())
    }

    /// Ends all processes, and reads what they have left.
    pub(super) async fn end(mut self) -> anyhow::Result<Ended> {
        for child in self.children.values_mut() {
            // Where the run was interrupted it may have ended already.
            let _ = child.signal(Signal::KILL);
            child.was_killed().await?;
        }
        self.serving.abort();
        let mut all = rows(&self.folder, Process::Shop).await?;
        all.extend(rows(&self.folder, Process::Bank).await?);
        let seen = self.lab.seen.borrow();
        let heard = |planned: Planned| (planned, seen.told.get(&planned.order.number).copied());
        Ok(Ended {
            arm: self.arm,
            victim: self.victim,
            orders: self.plan.into_iter().map(heard).collect(),
            rows: all,
            to_reach: self.to_reach,
            reached: seen.reached.len(),
            killed: self.killed,
        })
    }
}

impl Lab {
    /// Holds an order that comes to its point until the process is dead. Who comes later was not there.
    async fn pass(&self, point: Point) -> Addresses {
        if self.points.contains(&point) && !*self.struck.borrow() {
            self.seen
                .send_if_modified(|seen| seen.reached.insert(point));
            // It can't be closed while this has a sender.
            let _ = self.struck.subscribe().wait_for(|struck| *struck).await;
        }
        *self.addresses.borrow()
    }

    fn lead_to(&self, process: Process, address: Option<SocketAddr>) {
        self.addresses
            .send_modify(|addresses| addresses.set(process, address));
    }

    fn hear(&self, order: u64, told: Told) {
        self.seen.send_modify(|seen| {
            seen.told.insert(order, told);
        });
    }
}
