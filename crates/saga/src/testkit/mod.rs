//! A saga of yours, broken at every boundary of its log.
//!
//! ```
//! # use backstay_saga::{Attempt, Cx, Saga, StepError, UndoError, Version, testkit};
//! # use std::sync::{Arc, Mutex};
//! # use std::collections::BTreeSet;
//! use backstay_saga::Settled;
//!
//! /// What is held, and the keys of what was undone.
//! type World = Arc<Mutex<(BTreeSet<String>, BTreeSet<String>)>>;
//!
//! async fn hold(cx: Cx<World, String>) -> Result<(), StepError> {
//!     let mut world = cx.app().lock().unwrap();
//!     // A call that comes after its undo.
//!     if world.1.contains(&cx.key()) {
//!         return Err(StepError::failed("it was undone"));
//!     }
//!     world.0.insert(cx.key());
//!     Ok(())
//! }
//!
//! async fn release(cx: Cx<World, String>, _: Attempt<()>) -> Result<(), UndoError> {
//!     let mut world = cx.app().lock().unwrap();
//!     world.1.insert(cx.key());
//!     world.0.remove(&cx.key());
//!     Ok(())
//! }
//!
//! let saga = Saga::builder("hold", Version(1));
//! let held = saga.step("hold", hold).undo(release);
//! let saga = saga.build(held).unwrap();
//!
//! // In a test: a new world for each case, and what has to be so of it when all is over.
//! testkit::sweep(&saga, &"a room".to_owned(), World::default, |world, settled| {
//!     let held = world.lock().unwrap().0.len();
//!     match settled {
//!         Settled::Done(()) if held == 1 => Ok(()),
//!         Settled::Undone(_) if held == 0 => Ok(()),
//!         // Its undo was refused for good: a person sees what there is.
//!         Settled::Parked(_) => Ok(()),
//!         other => Err(format!("{held} held, and it is {other:?}")),
//!     }
//! });
//! ```

mod case;
mod plan;
mod run;
mod station;

use std::fmt::{self, Debug};
use std::sync::Arc;

use backstay_store::Store;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Saga;
use crate::engine::Settled;
use crate::operator::Operator;
use case::{Case, Fault, Kind};
use plan::Counts;

pub use case::Flaw;
pub(crate) use plan::Plan;
pub use run::ID;

/// One case alone is run if this variable names it.
const ONLY: &str = "BACKSTAY_SWEEP";

/// A second kill is tried in sagas of up to so many commits and calls: their square is run.
const PAIRS: usize = 12;

/// What a sweep has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Cases that were run.
    pub cases: usize,
    /// Of them, those that ended done, undone, and parked.
    pub done: usize,
    /// See `done`.
    pub undone: usize,
    /// See `done`.
    pub parked: usize,
}

/// A sweep of a saga that waits for a person; of any other, [`sweep`] is enough.
pub struct Sweep<'s, App, In, Out> {
    saga: &'s Saga<App, In, Out>,
    input: In,
    person: Option<Arc<Acts>>,
    each_worker: Option<Box<EachWorker<App>>>,
    flaw: Option<Flaw>,
}

type Acts = dyn Fn(Operator) -> BoxFuture<'static, ()> + Send + Sync;
type EachWorker<App> = dyn Fn(&App, &Store) -> App;

impl<App, In, Out> fmt::Debug for Sweep<'_, App, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep").finish_non_exhaustive()
    }
}

/// Runs a saga once, and then again with each fault at each place where it can happen.
///
/// Faults: the worker is killed before and after each commit, or stopped there, replaced, and goes on when all is over; the reply
/// of a commit is lost; the store is away for a while; a call fails, is lost on its way, loses its reply, is made twice, or
/// arrives when all is over; an undo fails, or for good. All of it is done for the saga that succeeds and for those in which one
/// call is refused, and workers are killed and stopped also while another runs beside them. In sagas of up to 12 commits and
/// calls a kill, a lost call and a lost reply are followed by a kill before each commit that comes after them.
/// Time is virtual, the store in memory; no case depends on another or on chance.
///
/// `world` makes what the steps work with, of which a clone has to be the same world. After each case `holds` says what is
/// wrong with the world, if something is; besides, each case has to end.
///
/// # Panics
///
/// When a case does not hold: it names the case, shows the log, and how to run it alone.
pub fn sweep<App, In, Out>(
    saga: &Saga<App, In, Out>,
    input: &In,
    world: impl Fn() -> App,
    holds: impl Fn(&App, &Settled<Out>) -> Result<(), String>,
) -> Swept
where
    App: Clone + Send + Sync + 'static,
    In: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Out: Debug + DeserializeOwned + Send + 'static,
{
    Sweep::of(saga, input).run(world, holds)
}

impl<'s, App, In, Out> Sweep<'s, App, In, Out>
where
    App: Clone + Send + Sync + 'static,
    In: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Out: Debug + DeserializeOwned + Send + 'static,
{
    /// A sweep of this saga.
    pub fn of(saga: &'s Saga<App, In, Out>, input: &In) -> Self {
        Self {
            saga,
            input: input.clone(),
            person: None,
            each_worker: None,
            flaw: None,
        }
    }

    /// What a person does about the instance, whose id is [`ID`], or whoever sends it a signal.
    ///
    /// In each case it is done once it is parked or has waited for a while, and in further cases also just before each of
    /// the commits.
    #[must_use]
    pub fn person<F>(mut self, acts: impl Fn(Operator) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.person = Some(Arc::new(move |operator| acts(operator).boxed()));
        self
    }

    /// What a worker's steps work with, made of the world and of its own way to the store.
    #[doc(hidden)]
    #[must_use]
    pub fn each_worker(mut self, app: impl Fn(&App, &Store) -> App + 'static) -> Self {
        self.each_worker = Some(Box::new(app));
        self
    }

    /// Breaks the engine on purpose: the sweep is expected to find it.
    #[doc(hidden)]
    #[must_use]
    pub fn flaw(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    /// Runs it, as [`sweep`] does.
    ///
    /// # Panics
    ///
    /// When a case does not hold.
    pub fn run(
        &self,
        world: impl Fn() -> App,
        holds: impl Fn(&App, &Settled<Out>) -> Result<(), String>,
    ) -> Swept {
        match self.try_run(world, holds) {
            Ok(swept) => swept,
            Err(broken) => panic!("{broken}"),
        }
    }

    /// The same, and what does not hold.
    #[doc(hidden)]
    pub fn try_run(
        &self,
        world: impl Fn() -> App,
        holds: impl Fn(&App, &Settled<Out>) -> Result<(), String>,
    ) -> Result<Swept, String> {
        let mut swept = Swept::default();
        let run = |case: &Case| -> Result<Counts, String> {
            let app = world();
            let outcome = run::run(self, &app, case)?;
            let told = holds(&outcome.app, &outcome.settled);
            told.map_err(|wrong| broken(case, &wrong, &outcome.log))?;
            swept.count(&outcome.settled);
            Ok(outcome.counts)
        };
        match std::env::var(ONLY) {
            Ok(only) => {
                let mut run = run;
                let case = only.parse().map_err(|error| format!("{ONLY}: {error}"))?;
                run(&case)?;
            }
            Err(_) => self.all(run)?,
        }
        Ok(swept)
    }

    /// Runs each case.
    fn all(&self, mut run: impl FnMut(&Case) -> Result<Counts, String>) -> Result<(), String> {
        let plain = run(&Case::default())?;
        let has_pairs = plain.commits + plain.calls <= PAIRS;
        for two_workers in [false, true] {
            let plain = Case {
                two_workers,
                faults: Vec::new(),
            };
            let calls = run(&plain)?.calls;
            let refused = (1..=calls).map(|call| plain.and(Kind::Refused.at(call)));
            for scenario in std::iter::once(plain.clone()).chain(refused) {
                let Counts { commits, calls, .. } = run(&scenario)?;
                for fault in Fault::all(commits, calls) {
                    let is_one = match fault.kind {
                        Kind::Person => self.person.is_some(),
                        kind => !two_workers || kind.strikes(),
                    };
                    if !is_one {
                        continue;
                    }
                    let case = scenario.and(fault);
                    let counts = run(&case)?;
                    // Where it turns back anyway, a kill stands for all that comes before the second.
                    let goes_on = match scenario.faults[..] {
                        [] => fault.kind.is_recovered(),
                        _ => fault.kind == Kind::KillBefore,
                    };
                    if two_workers || !has_pairs || !goes_on {
                        continue;
                    }
                    for at in counts.struck_at + 1..=counts.commits {
                        run(&case.and(Kind::KillBefore.at(at)))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn broken(case: &Case, wrong: &str, log: &str) -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("<the test>");
    format!(
        "it does not hold: {wrong}\ncase: {case}\nalone: {ONLY}='{case}' cargo test {test}\nlog:\n{log}"
    )
}

impl Swept {
    fn count<Out>(&mut self, settled: &Settled<Out>) {
        self.cases += 1;
        match settled {
            Settled::Done(_) => self.done += 1,
            Settled::Undone(_) => self.undone += 1,
            Settled::Parked(_) | Settled::Abandoned => self.parked += 1,
        }
    }
}
