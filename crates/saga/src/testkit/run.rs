//! One case from its start to its end.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{MemoryStore, Store, TestClock, Timestamp};
use futures_util::FutureExt;
use futures_util::future::select_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::case::Case;
use super::plan::{Counts, Course, Person, Plan, Struck};
use super::station::Station;
use super::{Sweep, broken};
use crate::engine::instances::{Instances, LoadError};
use crate::engine::names::{Name, Names};
use crate::engine::{Engine, EngineError, SettleError, Settled, StartError, Why};
use crate::note::Standing;
use crate::operator::Operator;
use crate::timeline;

/// What a case has come to.
pub(super) struct Outcome<App, Out> {
    /// The world, with a store that nothing happens to.
    pub(super) app: App,
    pub(super) settled: Settled<Out>,
    pub(super) log: String,
    pub(super) counts: Counts,
}

/// The id of the instance that a sweep runs.
pub const ID: &str = "swept";
/// Longer than all waits of a saga that goes wrong.
const WITHIN: Duration = Duration::from_secs(2 * 24 * 3_600);
/// Between two looks whether a saga within it waits for a person.
const LOOK: Duration = Duration::from_secs(60);
/// What has not ended after so long waits for the person.
const REST: Duration = Duration::from_secs(15);
/// As long as a worker that was replaced goes on afterwards.
const AFTER: Duration = Duration::from_secs(20);
/// After so long two workers have shared the shards.
const SHARED: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(100);
const GROUP: &str = "default";

pub(super) fn run<App, In, Out>(
    sweep: &Sweep<'_, App, In, Out>,
    app: &App,
    case: &Case,
) -> Result<Outcome<App, Out>, String>
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
        let ground = Ground::new(sweep, app, case);
        let ended = ground.run(case.two_workers).await;
        let log = ground.log().await;
        let (settled, counts) = ended.map_err(|wrong| broken(case, &wrong, &log))?;
        Ok(Outcome {
            app: ground.app(&whole(&ground.store)),
            settled,
            log,
            counts,
        })
    })
}

/// What all workers of a case share.
struct Ground<'s, App, In, Out> {
    sweep: &'s Sweep<'s, App, In, Out>,
    app: &'s App,
    store: Arc<MemoryStore>,
    clock: TestClock,
    course: Arc<Course>,
}

struct Worker<App> {
    engine: Engine<App>,
    plan: Arc<Plan>,
}

impl<'s, App, In, Out> Ground<'s, App, In, Out>
where
    App: Clone + Send + Sync + 'static,
    In: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Out: Debug + DeserializeOwned + Send + 'static,
{
    fn new(sweep: &'s Sweep<'s, App, In, Out>, app: &'s App, case: &Case) -> Self {
        let clock = TestClock::going_from(Timestamp::from_millis(1_800_000_000_000));
        let store = Arc::new(MemoryStore::with_clock(clock.clone()));
        let operator = Operator::new(whole(&store));
        let person = sweep.person.clone();
        let person = person.map(|person| -> Person { Box::new(move || person(operator.clone())) });
        Self {
            sweep,
            app,
            store,
            clock,
            course: Arc::new(Course::new(case.clone(), person)),
        }
    }

    fn app(&self, store: &Store) -> App {
        match &self.sweep.each_worker {
            Some(app) => app(self.app, store),
            None => self.app.clone(),
        }
    }

    async fn worker(&self) -> Result<Worker<App>, String> {
        let plan = Arc::new(Plan::new(self.course.clone(), self.sweep.flaw));
        loop {
            let station = Station {
                store: self.store.clone(),
                plan: plan.clone(),
            };
            let store = Store::new(station);
            let app = self.app(&store);
            let engine = Engine::builder(store, app)
                .run(self.sweep.saga)
                .allow_volatile();
            let engine = engine.clock(self.clock.clone()).plan(plan.clone());
            match engine.start().await {
                Ok(engine) => return Ok(Worker { engine, plan }),
                Err(EngineError::Unavailable(_)) => sleep(AGAIN).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Runs the case, with another worker whenever there is none.
    async fn run(&self, two_workers: bool) -> Result<(Settled<Out>, Counts), String> {
        let mut live = vec![self.worker().await?];
        if two_workers {
            live.push(self.worker().await?);
            sleep(SHARED).await;
        }
        let mut stopped = Vec::new();
        let ended = loop {
            if live.is_empty() {
                live.push(self.worker().await?);
            }
            let struck = select_all(live.iter().map(|worker| worker.plan.struck().boxed()));
            let (struck, at) = tokio::select! {
                biased;
                (struck, at, _) = struck => (struck, at),
                ended = self.settled(&live[0].engine) => break ended?,
            };
            let worker = live.remove(at);
            // One that is killed takes all with it that it held, as a process does.
            if struck == Struck::Stopped {
                stopped.push(worker);
            }
        };
        let counts = self.course.counts();
        self.course.come_back();
        let before = self.records().await?;
        for late in self.course.late() {
            // It may be refused or panic; only what it does counts.
            let _ = tokio::spawn(late).await;
        }
        for worker in &stopped {
            worker.plan.gate.send_replace(Some(Struck::Waking));
            sleep(Duration::from_secs(1)).await;
            worker.plan.gate.send_replace(None);
            sleep(AFTER).await;
        }
        drop((live, stopped));
        let after = self.records().await?;
        if after != before {
            return Err(format!(
                "when all was over, {} more were written",
                after - before
            ));
        }
        Ok((ended, counts))
    }

    /// What it has come to, once the person has seen it too.
    async fn settled(&self, engine: &Engine<App>) -> Result<Settled<Out>, String> {
        let whole = async {
            let handle = loop {
                match engine
                    .start(self.sweep.saga, ID, self.sweep.input.clone())
                    .await
                {
                    Ok(handle) => break handle,
                    // Nobody knows whether it is there: start it again.
                    Err(StartError::Unavailable(_)) => sleep(AGAIN).await,
                    Err(error) => return Err(error.to_string()),
                }
            };
            let wrong = |error: SettleError| error.to_string();
            let settled = tokio::select! {
                biased;
                settled = handle.settled() => Some(settled.map_err(wrong)?),
                why = parked(engine) => Some(Settled::Parked(why)),
                () = sleep(REST), if self.course.has_person() => None,
            };
            if let Some(settled) = settled
                && (!matches!(settled, Settled::Parked(_)) || !self.course.has_person())
            {
                return Ok(settled);
            }
            self.course.person_at_rest().await;
            tokio::select! {
                biased;
                ended = handle.ended() => ended.map_err(wrong),
                why = parked(engine) => Ok(Settled::Parked(why)),
            }
        };
        match timeout(WITHIN, whole).await {
            Ok(ended) => ended,
            Err(_) => Err(format!("it has not ended within {WITHIN:?}")),
        }
    }

    /// The log of the instance, or why it can't be shown.
    async fn log(&self) -> String {
        let (instances, name) = (self.instances(), self.name());
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

    fn name(&self) -> Name {
        Name::new(&self.sweep.saga.graph().saga, ID)
    }

    fn instances(&self) -> Instances {
        Instances {
            store: whole(&self.store),
            names: Names::new(GROUP),
        }
    }

    /// How many records the instance has, all of which have to be legal.
    async fn records(&self) -> Result<u64, String> {
        let loaded = self.instances().load(&self.name()).await;
        let loaded = loaded.map_err(|error| error.to_string())?;
        Ok(loaded.map_or(0, |loaded| loaded.version.get()))
    }
}

/// The store as nobody disturbs it.
fn whole(store: &Arc<MemoryStore>) -> Store {
    let course = Course::new(Case::default(), None);
    Store::new(Station {
        store: store.clone(),
        plan: Arc::new(Plan::new(Arc::new(course), None)),
    })
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
