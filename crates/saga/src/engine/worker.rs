//! What all parts of a worker share.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backstay_store::{Change, Claim, Fence, Owner, Position, Store, Timestamp};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::hints::Hints;
use super::instances::Instances;
use super::names::{Name, Names};
use super::options::Options;
use super::settled::Told;
use crate::define::Run;
#[cfg(feature = "test-util")]
use crate::error::StepEffect;
use crate::graph::Fingerprint;
use crate::log::Entry;
#[cfg(feature = "test-util")]
use crate::testkit::Flaw;

/// One process's share of a group.
pub(crate) struct Worker<App> {
    pub(super) instances: Instances,
    pub(super) owner: Owner,
    pub(super) app: Arc<App>,
    /// All that were registered, and the sagas within them.
    pub(super) sagas: HashMap<Fingerprint, Arc<dyn Run<App>>>,
    pub(super) options: Options,
    /// As many instances run at once.
    pub(super) places: Arc<Semaphore>,
    shards: Mutex<BTreeMap<u32, Held>>,
    slots: Mutex<HashMap<Name, Slot>>,
    /// Who waits for an instance that runs elsewhere.
    pub(super) hints: Hints,
    /// Nothing new is begun.
    pub(super) draining: watch::Sender<bool>,
    /// Something has to be done about shards.
    pub(super) shards_changed: Notify,
}

/// A shard of this worker's.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) shard: u32,
    pub(super) claim: Claim,
    /// The claim's.
    pub(super) fence: Fence,
    /// Counted from before the store was asked: from then on another may have it.
    pub(super) until: Instant,
    /// It is given to another worker as soon as its calls have ended.
    pub(super) leaves: bool,
}

/// An instance that this worker runs.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) shard: u32,
    pub(super) nudge: Arc<Notify>,
    pub(super) told: watch::Receiver<Told>,
    /// Changes of its key up to here are known.
    pub(super) seen: Position,
    /// Its key was put again since it was looked at last.
    pub(super) is_wanted: bool,
    pub(super) abort: Option<AbortHandle>,
}

impl<App> fmt::Debug for Worker<App> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("group", &self.names().group())
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl<App> Worker<App> {
    pub(super) fn new(
        store: Store,
        app: App,
        sagas: HashMap<Fingerprint, Arc<dyn Run<App>>>,
        options: Options,
    ) -> Self {
        Self {
            instances: Instances {
                store,
                names: Names::new(&options.group),
            },
            owner: Owner::new(),
            app: Arc::new(app),
            sagas,
            places: Arc::new(Semaphore::new(options.limit)),
            options,
            shards: Mutex::default(),
            slots: Mutex::default(),
            hints: Hints::default(),
            draining: watch::Sender::new(false),
            shards_changed: Notify::new(),
        }
    }

    pub(super) fn names(&self) -> &Names {
        &self.instances.names
    }

    pub(super) fn store(&self) -> &Store {
        &self.instances.store
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(super) fn shards(&self) -> MutexGuard<'_, BTreeMap<u32, Held>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, HashMap<Name, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Under what an instance of a shard is written; none if the shard is not this worker's.
    pub(super) fn fence(&self, shard: u32) -> Option<Fence> {
        let shards = self.shards();
        let held = shards.get(&shard)?;
        (Instant::now() < held.until).then(|| held.fence.clone())
    }

    /// Whether calls of a shard may begin.
    pub(super) fn may_begin(&self, shard: u32) -> bool {
        let stays = self.shards().get(&shard).is_some_and(|held| !held.leaves);
        stays && !self.is_draining()
    }

    /// The shard is another's: what runs of it here ends at once.
    pub(super) fn lose(&self, shard: u32, epoch: u64) {
        let mut shards = self.shards();
        if shards
            .get(&shard)
            .is_some_and(|held| held.claim.epoch <= epoch)
        {
            shards.remove(&shard);
        } else if shards.contains_key(&shard) {
            // It was lost and is here again.
            return;
        }
        drop(shards);
        self.slots().retain(|_, slot| {
            let is_lost = slot.shard == shard;
            if is_lost && let Some(abort) = &slot.abort {
                abort.abort();
            }
            !is_lost
        });
        self.shards_changed.notify_one();
    }

    /// Ends all that runs here at once.
    pub(super) fn abort_all(&self) {
        for (_, slot) in self.slots().drain() {
            if let Some(abort) = slot.abort {
                abort.abort();
            }
        }
    }

    /// How an instance is followed that runs here.
    pub(super) fn told(&self, name: &Name) -> Option<watch::Receiver<Told>> {
        self.slots().get(name).map(|slot| slot.told.clone())
    }

    /// Tells all instances of some shards to look whether they may go on.
    pub(super) fn nudge_all(&self, is_one: impl Fn(u32) -> bool) {
        let slots = self.slots();
        let those = slots.values().filter(|slot| is_one(slot.shard));
        those.for_each(|slot| slot.nudge.notify_one());
    }

    /// Tells an instance of a change of its key. False if it does not run here.
    pub(super) fn nudge(&self, name: &Name, change: &Change) -> bool {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(name) else {
            return false;
        };
        if change.revision > slot.seen {
            slot.is_wanted = change.value.is_some();
            slot.nudge.notify_one();
        }
        true
    }
}

/// What is broken on purpose, to see tests fail.
#[cfg(feature = "test-util")]
impl<App> Worker<App> {
    pub(super) fn has_flaw(&self, flaw: Flaw) -> bool {
        let plan = self.options.plan.as_ref();
        plan.is_some_and(|plan| plan.flaw == Some(flaw))
    }

    pub(super) fn broken(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        for entry in &mut entries {
            match entry {
                Entry::Failed { effect, .. } if self.has_flaw(Flaw::UnknownIsNothing) => {
                    *effect = StepEffect::NotExecuted;
                }
                Entry::UndoFailed { step, .. } if self.has_flaw(Flaw::UndoCancelled) => {
                    *entry = Entry::Undone { step: *step };
                }
                _ => {}
            }
        }
        entries
    }
}

#[cfg(not(feature = "test-util"))]
impl<App> Worker<App> {
    #[expect(clippy::unused_self, reason = "tests break it here")]
    pub(super) fn broken(&self, entries: Vec<Entry>) -> Vec<Entry> {
        entries
    }
}

/// What time it is, for sleeps and waits that outlive a process.
#[derive(Clone, Debug, Default)]
pub(crate) enum Clock {
    #[default]
    Machine,
    #[cfg(feature = "test-util")]
    Test(backstay_store::TestClock),
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::Machine => machine(),
            #[cfg(feature = "test-util")]
            Self::Test(clock) => clock.now(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only the machine's clock goes on when no process runs"
)]
pub(crate) fn machine() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or(Duration::ZERO).as_millis();
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
