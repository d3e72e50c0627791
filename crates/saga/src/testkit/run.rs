//! One case from its start to its end.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{MemoryStore, Store, TestClock, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::broken;
use super::case::{Case, Flaw};
use super::plan::{Plan, Struck};
use super::station::Station;
use crate::Saga;
use crate::engine::instances::{Instances, LoadError};
use crate::engine::names::{Name, Names};
use crate::engine::{Engine, Settled, StartError, Why};
use crate::note::Standing;
use crate::timeline;

/// What a case has come to.
pub(super) struct Outcome<Out> {
    pub(super) settled: Settled<Out>,
    pub(super) log: String,
    pub(super) counts: Counts,
}

/// What a case has counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) commits: usize,
    pub(super) calls: usize,
}

const ID: &str = "swept";
/// Longer than all waits of a saga that goes wrong.
const WITHIN: Duration = Duration::from_secs(2 * 24 * 3_600);
/// Between two looks whether a saga within it waits for a person.
const LOOK: Duration = Duration::from_secs(600);
/// As long as a worker that was replaced goes on afterwards.
const AFTER: Duration = Duration::from_secs(60);
const GROUP: &str = "default";

pub(super) fn run<App, In, Out>(
    saga: &Saga<App, In, Out>,
    input: In,
    app: &App,
    case: Case,
    flaw: Option<Flaw>,
) -> Result<Outcome<Out>, String>
where
    App: Clone + Send + Sync + 'static,
    In: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Out: Debug + DeserializeOwned + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    fastrand::seed(7);
    runtime.block_on(async {
        let ground = Ground::new(Arc::new(Plan::new(case, flaw)));
        let ended = ground.run(saga, input, app).await;
        let log = ground.log(&saga.graph().saga).await;
        let settled = ended.map_err(|wrong| broken(&case, &wrong, &log))?;
        let (commits, calls) = ground.plan.counts();
        Ok(Outcome {
            settled,
            log,
            counts: Counts { commits, calls },
        })
    })
}

/// What all workers of a case share.
struct Ground {
    store: Arc<MemoryStore>,
    clock: TestClock,
    plan: Arc<Plan>,
}

impl Ground {
    fn new(plan: Arc<Plan>) -> Self {
        let clock = TestClock::going_from(Timestamp::from_millis(1_800_000_000_000));
        let store = Arc::new(MemoryStore::with_clock(clock.clone()));
        Self { store, clock, plan }
    }

    /// The store, past all gates.
    fn whole(&self) -> Store {
        self.station().0
    }

    fn station(&self) -> (Store, watch::Sender<Option<Struck>>) {
        let gate = watch::Sender::new(None);
        let station = Station {
            store: self.store.clone(),
            plan: self.plan.clone(),
            gate: gate.clone(),
        };
        (Store::new(station), gate)
    }

    async fn worker<App, In, Out>(
        &self,
        saga: &Saga<App, In, Out>,
        app: &App,
    ) -> Result<(Engine<App>, watch::Sender<Option<Struck>>), String>
    where
        App: Clone + Send + Sync + 'static,
        In: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let (store, gate) = self.station();
        let engine = Engine::builder(store, app.clone())
            .run(saga)
            .allow_volatile();
        let engine = engine.clock(self.clock.clone()).plan(self.plan.clone());
        let engine = engine.start().await.map_err(|error| error.to_string())?;
        Ok((engine, gate))
    }

    async fn run<App, In, Out>(
        &self,
        saga: &Saga<App, In, Out>,
        input: In,
        app: &App,
    ) -> Result<Settled<Out>, String>
    where
        App: Clone + Send + Sync + 'static,
        In: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
        Out: Debug + DeserializeOwned + Send + 'static,
    {
        let mut struck = self.plan.struck.subscribe();
        let (first, gate) = self.worker(saga, app).await?;
        let ended = tokio::select! {
            biased;
            _ = struck.wait_for(Option::is_some) => None,
            ended = settled(&first, saga, input.clone()) => Some(ended?),
        };
        let is_stopped = *struck.borrow() == Some(Struck::Stopped);
        let mut workers = Vec::new();
        if ended.is_some() || is_stopped {
            workers.push(first);
        } else {
            // All that it held goes with it, as in a process that is killed.
            gate.send_replace(Some(Struck::Killed));
            drop(first);
        }
        let ended = if let Some(ended) = ended {
            ended
        } else {
            let (second, _) = self.worker(saga, app).await?;
            let ended = settled(&second, saga, input).await?;
            workers.push(second);
            ended
        };
        let before = self.records(saga).await?;
        for late in self.plan.late() {
            // It may be refused or panic; only what it does counts.
            let _ = tokio::spawn(late).await;
        }
        if is_stopped {
            gate.send_replace(Some(Struck::Waking));
            sleep(Duration::from_secs(1)).await;
            gate.send_replace(None);
            sleep(AFTER).await;
        }
        drop(workers);
        let after = self.records(saga).await?;
        if after != before {
            return Err(format!(
                "when all was over, {} more were written",
                after - before
            ));
        }
        Ok(ended)
    }

    /// The log of the instance, or why it can't be shown.
    async fn log(&self, saga: &str) -> String {
        let (instances, name) = (self.instances(), Name::new(saga, ID));
        let lines = async {
            let Some(start) = instances.start(&name).await? else {
                return Ok("there is no instance\n".to_owned());
            };
            let graph = instances.graph(&start.graph).await?;
            let records = instances.records(&name).await?;
            let records = records.iter().map(|(_, record)| record);
            Ok::<_, LoadError>(timeline::lines(&graph, records))
        };
        lines.await.unwrap_or_else(|error| format!("{error}\n"))
    }

    fn instances(&self) -> Instances {
        Instances {
            store: self.whole(),
            names: Names::new(GROUP),
        }
    }

    /// How many records the instance has, all of which have to be legal.
    async fn records<App, In, Out>(&self, saga: &Saga<App, In, Out>) -> Result<u64, String> {
        let loaded = self
            .instances()
            .load(&Name::new(&saga.graph().saga, ID))
            .await;
        let loaded = loaded.map_err(|error| error.to_string())?;
        Ok(loaded.map_or(0, |loaded| loaded.version.get()))
    }
}

async fn settled<App, In, Out>(
    engine: &Engine<App>,
    saga: &Saga<App, In, Out>,
    input: In,
) -> Result<Settled<Out>, String>
where
    App: Send + Sync + 'static,
    In: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Out: DeserializeOwned + Send + 'static,
{
    let whole = async {
        let handle = loop {
            match engine.start(saga, ID, input.clone()).await {
                Ok(handle) => break handle,
                // Nobody knows whether it is there: start it again.
                Err(StartError::Unavailable(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        };
        tokio::select! {
            biased;
            settled = handle.settled() => settled.map_err(|error| error.to_string()),
            why = parked(engine) => Ok(Settled::Parked(why)),
        }
    };
    match timeout(WITHIN, whole).await {
        Ok(ended) => ended,
        Err(_) => Err(format!("it has not ended within {WITHIN:?}")),
    }
}

/// Waits until any instance, the swept one or one within it, is parked for a while.
async fn parked<App: Send + Sync + 'static>(engine: &Engine<App>) -> Why {
    let operator = engine.operator();
    loop {
        sleep(LOOK).await;
        let active = operator.active(None).await.unwrap_or_default().instances;
        let parked = active
            .into_iter()
            .find(|one| one.standing == Standing::Parked);
        if let Some(one) = parked
            && let Ok(shown) = operator.show(&one.saga, &one.id).await
            && let Some(why) = shown.why
        {
            return why;
        }
    }
}
