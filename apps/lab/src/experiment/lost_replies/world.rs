//! The processes of a run, and its customers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::Plan;
use crate::child::Child;
use crate::engine::measure::{Log, lag_p99};
use crate::replies::customer::{Customers, Told};
use crate::replies::proxy::{Exchange, Losses, Proxy};
use crate::replies::server::{Row, rows};
use crate::replies::{ARMS, Arm};

pub(super) struct World {
    seed: u64,
    arms: Vec<Standing>,
    folder: TempDir,
}

struct Standing {
    arm: Arm,
    server: Child,
    proxy: Proxy,
    ledger: Arc<Ledger>,
}

/// What the customers of an arm know.
struct Ledger {
    /// How late the generator was, for each order.
    lag: Log,
    told: Mutex<Vec<Order>>,
}

/// An order as its customer sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) number: u64,
    pub(super) due: Duration,
    /// None while nothing was heard.
    pub(super) told: Option<Told>,
}

/// What there is to know of an arm in the end.
pub(super) struct Ended {
    pub(super) arm: Arm,
    pub(super) orders: Vec<Order>,
    pub(super) rows: Vec<Row>,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) lag_p99: Option<Duration>,
}

impl World {
    pub(super) async fn start(seed: u64, plan: Plan) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let share = plan.lost;
        let mut arms = Vec::new();
        for arm in ARMS {
            let (server, address) = Child::service(&words(arm, &folder)).await?;
            let proxy = Proxy::start(address, Losses { seed, share }).await?;
            arms.push(Standing {
                arm,
                server,
                proxy,
                ledger: Arc::new(Ledger::new(&[])),
            });
        }
        Ok(Self { seed, arms, folder })
    }

    /// Has every order placed when it is due, in every arm; ends when the last customer has heard what came of it.
    pub(super) fn load(
        &mut self,
        start: Instant,
        arrivals: &[Duration],
    ) -> anyhow::Result<JoinHandle<()>> {
        let mut arms = Vec::new();
        for standing in &mut self.arms {
            standing.ledger = Arc::new(Ledger::new(arrivals));
            let customers = Customers::new(standing.arm, self.seed, standing.proxy.address)?;
            arms.push((Arc::new(customers), standing.ledger.clone()));
        }
        let arrivals = arrivals.to_vec();
        Ok(tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            for (number, due) in (0..).zip(&arrivals) {
                let due = start + *due;
                sleep_until(due).await;
                for (customers, ledger) in &arms {
                    let (customers, ledger) = (customers.clone(), ledger.clone());
                    under_way.spawn(async move {
                        ledger.lag.started(number, due.elapsed());
                        let told = customers.place(number).await;
                        ledger.hear(number, told);
                    });
                }
            }
            while under_way.join_next().await.is_some() {}
        }))
    }

    /// Ends every server as `kill -9` does, and starts it again on its file; how many were.
    pub(super) async fn kill_and_restart(&mut self) -> anyhow::Result<u64> {
        for standing in &self.arms {
            standing.server.signal(Signal::KILL)?;
        }
        // Side by side, so that all are away for as long as each other.
        let folder = &self.folder;
        let restarts = self.arms.iter_mut().map(async |standing| {
            let killed = standing.server.was_killed().await?;
            let (server, address) = Child::service(&words(standing.arm, folder)).await?;
            standing.server = server;
            standing.proxy.lead_to(address);
            anyhow::Ok(u64::from(killed))
        });
        Ok(try_join_all(restarts).await?.into_iter().sum())
    }

    /// Ends every server, and reads what it has left.
    pub(super) async fn end(self) -> anyhow::Result<Vec<Ended>> {
        let mut ended = Vec::new();
        for mut standing in self.arms {
            // Where the run was interrupted it may have ended already.
            let _ = standing.server.signal(Signal::KILL);
            standing.server.was_killed().await?;
            let (lag, orders) = standing.ledger.close();
            ended.push(Ended {
                arm: standing.arm,
                rows: rows(standing.arm, self.folder.path()).await?,
                exchanges: standing.proxy.exchanges(),
                lag_p99: lag,
                orders,
            });
        }
        Ok(ended)
    }
}

fn words(arm: Arm, folder: &TempDir) -> [String; 4] {
    let folder = folder.path().display().to_string();
    ["part", "orders", arm.name, &folder].map(str::to_owned)
}

impl Ledger {
    fn new(arrivals: &[Duration]) -> Self {
        let open = |(number, due): (u64, &Duration)| Order {
            number,
            due: *due,
            told: None,
        };
        Self {
            lag: Log::new(arrivals),
            told: Mutex::new((0..).zip(arrivals).map(open).collect()),
        }
    }

    fn hear(&self, number: u64, told: Told) {
        let mut orders = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = orders.iter_mut().find(|order| order.number == number) {
            order.told = Some(told);
        }
    }

    /// How late the generator was at p99, and the orders that were placed.
    fn close(&self) -> (Option<Duration>, Vec<Order>) {
        let entries = self.lag.due_in(&(Duration::ZERO..Duration::MAX));
        let orders = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let placed = orders.iter().zip(&entries);
        let placed = placed.filter(|(_, entry)| entry.lag.is_some());
        (lag_p99(&entries), placed.map(|(order, _)| *order).collect())
    }
}
