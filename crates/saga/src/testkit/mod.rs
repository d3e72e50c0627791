//! A saga of yours, broken at every boundary of its log.
//!
//! ```
//! # use backstay_saga::{Attempt, Cx, Saga, StepError, UndoError, Version, testkit};
//! # use std::sync::{Arc, Mutex};
//! # type World = Arc<Mutex<Vec<String>>>;
//! # async fn hold(cx: Cx<World, String>) -> Result<(), StepError> {
//! #     let mut held = cx.app().lock().unwrap();
//! #     if !held.contains(&cx.key()) { held.push(cx.key()); }
//! #     Ok(())
//! # }
//! # async fn release(cx: Cx<World, String>, _: Attempt<()>) -> Result<(), UndoError> {
//! #     cx.app().lock().unwrap().retain(|key| *key != cx.key());
//! #     Ok(())
//! # }
//! # let saga = Saga::builder("hold", Version(1));
//! # let held = saga.step("hold", hold).undo(release);
//! # let saga = saga.build(held).unwrap();
//! use backstay_saga::Settled;
//!
//! // In a test: a new world for each case, and what has to be so of it when all is over.
//! testkit::sweep(&saga, &"a room".to_owned(), World::default, |world, settled| {
//!     let held = world.lock().unwrap().len();
//!     match settled {
//!         Settled::Done(()) if held == 1 => Ok(()),
//!         Settled::Undone(_) if held == 0 => Ok(()),
//!         other => Err(format!("{held} held, and it is {other:?}")),
//!     }
//! });
//! ```

mod case;
mod plan;
mod run;
mod station;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Saga;
use crate::engine::Settled;
use case::Case;
use run::Counts;

pub use case::{Fault, Flaw};
pub(crate) use plan::Plan;

/// One case alone is run if this variable names it.
const ONLY: &str = "BACKSTAY_SWEEP";

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

/// Runs a saga once, and then again with each fault at each place where it can happen.
///
/// Faults: the worker is killed before and after each commit, or stopped there, replaced, and goes on when all is over; the reply
/// of a commit is lost; a call fails, is lost on its way, loses its reply, is made twice, or arrives when all is over; an undo fails, or for
/// good. All of it is done for the saga that succeeds and for those in which one call is refused. Time is virtual, the store
/// in memory; no case depends on another or on chance.
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
    match try_sweep(saga, input, &world, &holds, None) {
        Ok(swept) => swept,
        Err(broken) => panic!("{broken}"),
    }
}

/// The same with an engine that is broken on purpose: the sweep is expected to find it.
#[doc(hidden)]
pub fn sweep_broken<App, In, Out>(
    saga: &Saga<App, In, Out>,
    input: &In,
    world: impl Fn() -> App,
    holds: impl Fn(&App, &Settled<Out>) -> Result<(), String>,
    flaw: Flaw,
) -> Result<Swept, String>
where
    App: Clone + Send + Sync + 'static,
    In: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Out: Debug + DeserializeOwned + Send + 'static,
{
    try_sweep(saga, input, &world, &holds, Some(flaw))
}

type Holds<'h, App, Out> = dyn Fn(&App, &Settled<Out>) -> Result<(), String> + 'h;

fn try_sweep<App, In, Out>(
    saga: &Saga<App, In, Out>,
    input: &In,
    world: &dyn Fn() -> App,
    holds: &Holds<'_, App, Out>,
    flaw: Option<Flaw>,
) -> Result<Swept, String>
where
    App: Clone + Send + Sync + 'static,
    In: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Out: Debug + DeserializeOwned + Send + 'static,
{
    let mut swept = Swept::default();
    let mut run = |case: Case| -> Result<Counts, String> {
        let app = world();
        let outcome = run::run(saga, input.clone(), &app, case, flaw)?;
        let told = holds(&app, &outcome.settled);
        told.map_err(|wrong| broken(&case, &wrong, &outcome.log))?;
        swept.count(&outcome.settled);
        Ok(outcome.counts)
    };
    if let Ok(only) = std::env::var(ONLY) {
        let case = only.parse().map_err(|error| format!("{ONLY}: {error}"))?;
        run(case)?;
        return Ok(swept);
    }
    let plain = run(Case::default())?;
    let scenarios = std::iter::once(None).chain((1..=plain.calls).map(Some));
    for fails in scenarios {
        let scenario = Case { fails, fault: None };
        let counts = if fails.is_some() {
            run(scenario)?
        } else {
            plain
        };
        for fault in Fault::all(counts.commits, counts.calls) {
            run(Case {
                fails,
                fault: Some(fault),
            })?;
        }
    }
    Ok(swept)
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
