use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use backstay_store::Unavailable;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Engine;
use super::instances::LoadError;
use super::names::Name;
use super::settled::{Settled, Told};
use super::wait;
use crate::define::Run;
use crate::graph::Version;
use crate::json::{Json, Unreadable};
use crate::machine::Illegal;

/// An instance that was started.
pub struct Handle<App, Out> {
    engine: Engine<App>,
    run: Arc<dyn Run<App>>,
    name: Name,
    shard: u32,
    /// What the first to ask waits for, without asking the store.
    told: Mutex<Option<watch::Receiver<Told>>>,
    output: PhantomData<fn() -> Out>,
}

/// Why it can't be said what an instance has come to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// Its log can't be.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// It is done, and its output is not what this code reads.
    #[error("the output of the saga")]
    Unreadable(#[from] Unreadable),
    /// It is done as another version of the saga, which the engine does not know: register that as well.
    #[error("it ran as saga {saga} {version}, which the engine does not know", version = version.0)]
    NotRegistered {
        /// The saga.
        saga: String,
        /// The version.
        version: Version,
    },
    /// The store is closed or corrupt. As long as there is hope that it can be asked again, it is waited for.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<LoadError> for SettleError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(unavailable) => Self::Unavailable(unavailable),
            LoadError::Illegal(illegal) => Self::Illegal(illegal),
        }
    }
}

impl<App, Out> fmt::Debug for Handle<App, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.name).finish()
    }
}

impl<App, Out> Handle<App, Out>
where
    App: Send + Sync + 'static,
    Out: DeserializeOwned + Send + 'static,
{
    pub(super) fn new(
        engine: Engine<App>,
        run: Arc<dyn Run<App>>,
        name: Name,
        shard: u32,
        told: Option<watch::Receiver<Told>>,
    ) -> Self {
        Self {
            engine,
            run,
            name,
            shard,
            told: Mutex::new(told),
            output: PhantomData,
        }
    }

    /// The instance's id.
    pub fn id(&self) -> &str {
        &self.name.id
    }

    /// Waits until the instance has ended or is parked, wherever it runs.
    ///
    /// One that is parked now is told at once; [`ended`](Self::ended) waits until a person has decided.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on the instance.
    pub async fn settled(&self) -> Result<Settled<Out>, SettleError> {
        let first = self
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut told) = first {
            let settled = told.wait_for(Option::is_some).await;
            let settled = settled.ok().and_then(|told| told.clone());
            if let Some(settled) = settled {
                return Ok(read(settled)?);
            }
        }
        let worker = &self.engine.shared.worker;
        let settled = wait::settled(worker, &self.run, &self.name, self.shard).await?;
        Ok(read(settled)?)
    }

    /// Waits until the instance has ended, also while it is parked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on the instance.
    pub async fn ended(&self) -> Result<Settled<Out>, SettleError> {
        let worker = &self.engine.shared.worker;
        let settled = wait::over(worker, &self.run, &self.name, self.shard).await?;
        Ok(read(settled)?)
    }
}

fn read<Out: DeserializeOwned>(settled: Settled<Json>) -> Result<Settled<Out>, Unreadable> {
    Ok(match settled {
        Settled::Done(output) => Settled::Done(output.read()?),
        Settled::Undone(why) => Settled::Undone(why),
        Settled::Parked(why) => Settled::Parked(why),
        Settled::Abandoned => Settled::Abandoned,
    })
}
