//! Runs instances: many workers, in many processes, on one store.

mod calls;
mod child;
mod draft;
mod feed;
mod handle;
mod hints;
mod instance;
pub(crate) mod instances;
mod keeper;
pub(crate) mod names;
mod options;
mod settled;
mod start;
mod upgrade;
mod wait;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_store::{Batch, CommitError, Durability, Invalid, Put, Store, Unavailable};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::Json;
use crate::define::{Run, Saga};
use crate::graph::Fingerprint;
use crate::operator::Operator;
use names::Name;
use options::Options;
use worker::Worker;

pub use handle::{Handle, SettleError};
pub(crate) use options::{GROUP as DEFAULT_GROUP, REMEMBER as DEFAULT_REMEMBER, check_remember};
pub use settled::{Settled, Why};
pub use start::StartError;
pub(crate) use worker::machine as machine_now;

/// A worker that runs sagas. Cheap to clone; all clones are the same worker, which stops with the last of them.
///
/// Several workers on one store share the work. What one has begun when it is lost, another goes on with: after its claims are over,
/// which takes as long as [`ttl`](EngineBuilder::ttl) says. Dropping it is being lost; [`drain`](Self::drain) gives its work away at once.
pub struct Engine<App> {
    shared: Arc<Shared<App>>,
}

/// What ends with the last clone.
struct Shared<App> {
    worker: Arc<Worker<App>>,
    tasks: Vec<AbortHandle>,
}

impl<App> Drop for Shared<App> {
    fn drop(&mut self) {
        // What still looks for instances begins none.
        self.worker.draining.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
        self.worker.abort_all();
    }
}

impl<App> Clone for Engine<App> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        Self { shared }
    }
}

impl<App> fmt::Debug for Engine<App> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.shared.worker).finish()
    }
}

/// An engine's options and the sagas that it runs.
pub struct EngineBuilder<App> {
    store: Store,
    app: App,
    sagas: HashMap<Fingerprint, Arc<dyn Run<App>>>,
    options: Options,
}

impl<App> fmt::Debug for EngineBuilder<App> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Why an engine does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// An option can't be used.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store forgets what was done when the process ends.
    #[error(
        "the store is not durable, so a crash would lose sagas half done; `allow_volatile` takes it for tests"
    )]
    Volatile,
    /// There is none.
    #[error("the engine has no saga to run")]
    NoSaga,
    /// The store can't say, or can't do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl<App: Send + Sync + 'static> Engine<App> {
    /// Begins an engine on this store. `app` is what the steps work with.
    pub fn builder(store: impl Into<Store>, app: App) -> EngineBuilder<App> {
        EngineBuilder {
            store: store.into(),
            app,
            sagas: HashMap::new(),
            options: Options::default(),
        }
    }

    /// Starts an instance, or finds the one that this id has.
    ///
    /// When it returns, the instance will end, whatever happens to this process. It waits for a place as long as the engine
    /// runs as many as it may.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it open whether the instance is there. Start it again: the same id is the same instance.
    pub async fn start<In, Out>(
        &self,
        saga: &Saga<App, In, Out>,
        id: &str,
        input: In,
    ) -> Result<Handle<App, Out>, StartError>
    where
        In: Serialize + DeserializeOwned + Send + Sync + 'static,
        Out: DeserializeOwned + Send + 'static,
    {
        let input = Json::write(&input).map_err(|error| {
            Invalid::new(
                "input",
                "(not shown)",
                format!("must be what JSON can hold: {error}"),
            )
        })?;
        let worker = &self.shared.worker;
        let run = saga.run();
        let name = Name::new(&run.graph().saga, id);
        let shard = name.shard();
        let told = start::start(worker, &run, &name, shard, input, None).await?;
        Ok(Handle::new(self.clone(), run, name, shard, told))
    }

    /// Of 16, how many shards of the group this worker has.
    pub fn shards(&self) -> usize {
        self.shared.worker.shards().len()
    }

    /// What a person can see of the group's instances and do about them.
    pub fn operator(&self) -> Operator {
        let worker = &self.shared.worker;
        Operator::of(worker.instances.clone(), worker.options.remember)
    }

    /// Stops beginning steps, waits for those that run, and lets other workers go on.
    ///
    /// What has not ended in this time is cut off, as in a crash: another worker finds out what became of it. The engine
    /// can't be used afterwards.
    pub async fn drain(self, within: Duration) {
        let worker = &self.shared.worker;
        worker.draining.send_replace(true);
        // What is idle goes to others at once.
        worker.shards_changed.notify_one();
        let empty = async {
            while !worker.slots().is_empty() {
                sleep(LOOK).await;
            }
        };
        // What is left is cut off.
        let _ = timeout(within, empty).await;
        for task in &self.shared.tasks {
            task.abort();
        }
        worker.abort_all();
        keeper::leave(worker).await;
    }
}

const LOOK: Duration = Duration::from_millis(5);

impl<App: Send + Sync + 'static> EngineBuilder<App> {
    /// Runs this saga, and those within it.
    #[must_use]
    pub fn run<In, Out>(mut self, saga: &Saga<App, In, Out>) -> Self
    where
        In: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.add(saga.run());
        self
    }

    fn add(&mut self, run: Arc<dyn Run<App>>) {
        for step in 0..run.graph().steps.len() {
            if let Some(child) = run.child(step) {
                self.add(child.clone());
            }
        }
        self.sagas.insert(run.fingerprint().clone(), run);
    }

    /// Engines of one group run each other's instances, so they run the same sagas. Default: `default`.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.options.group = group.into();
        self
    }

    /// As many instances run at once: 1 to 1,000,000. Default: 1,000. Those that only wait do not count.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.options.limit = limit;
        self
    }

    /// How long a lost worker's instances rest until another takes them: 300 ms to 1 h. Default: 10 s.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }

    /// How long an instance that has ended is listed: 1 s to a year. Default: 7 days. Its log stays.
    #[must_use]
    pub fn remember(mut self, time: Duration) -> Self {
        self.options.remember = time;
        self
    }

    /// Takes a store that forgets, as a test may.
    #[must_use]
    pub fn allow_volatile(mut self) -> Self {
        self.options.is_volatile_allowed = true;
        self
    }

    /// Sleeps and waits by this clock, which should be the store's.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn clock(mut self, clock: backstay_store::TestClock) -> Self {
        self.options.clock = worker::Clock::Test(clock);
        self
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn plan(mut self, plan: Arc<crate::testkit::Plan>) -> Self {
        self.options.plan = Some(plan);
        self
    }

    /// Starts the worker: when it returns, it has the shards that were free.
    pub async fn start(self) -> Result<Engine<App>, EngineError> {
        self.options.validate()?;
        if self.sagas.is_empty() {
            return Err(EngineError::NoSaga);
        }
        let durability = self.store.capabilities().durability;
        if durability == Durability::None && !self.options.is_volatile_allowed {
            return Err(EngineError::Volatile);
        }
        let worker = Arc::new(Worker::new(self.store, self.app, self.sagas, self.options));
        for run in worker.sagas.values() {
            keep_graph(&worker, run.as_ref()).await?;
        }
        let after = worker.store().head().await?;
        keeper::round(&worker).await;
        let keep = tokio::spawn(keeper::keep(worker.clone()));
        let follow = tokio::spawn(feed::follow(worker.clone(), after));
        let tasks = vec![keep.abort_handle(), follow.abort_handle()];
        let shared = Arc::new(Shared { worker, tasks });
        Ok(Engine { shared })
    }
}

/// An instance's graph is in the store before the instance is.
async fn keep_graph<App>(worker: &Worker<App>, run: &dyn Run<App>) -> Result<(), EngineError> {
    let key = worker.names().graph(run.fingerprint());
    if worker.store().get(&key).await?.is_some() {
        return Ok(());
    }
    let graph = serde_json::to_vec(run.graph().as_ref()).unwrap_or_default();
    match worker
        .store()
        .commit(Batch::new().put(key, Put::new(graph)))
        .await
    {
        Ok(_) => Ok(()),
        Err(CommitError::Invalid(invalid)) => Err(invalid.into()),
        Err(CommitError::Unavailable(unavailable)) => Err(unavailable.into()),
        Err(error) => unreachable!("it expects nothing: {error}"),
    }
}
