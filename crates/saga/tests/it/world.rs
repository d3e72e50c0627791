//! Steps that do as they are told and write down what was asked of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_saga::{Attempt, Cx, StepError, UndoError};
use backstay_store::{MemoryStore, Store, TestClock, Timestamp};
use serde::{Deserialize, Serialize};

/// What a step is to do when it is called next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Do {
    Succeed,
    Fail,
    NotExecuted,
    /// The effect is there, and nobody hears of it.
    LoseReply,
    Panic,
    /// Takes ten seconds.
    Rest,
    Hang,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    script: Mutex<BTreeMap<String, VecDeque<Do>>>,
    /// Everything that was asked, as `+step` and `-step`.
    calls: Mutex<Vec<String>>,
    /// What is there, by key.
    effects: Mutex<BTreeMap<String, String>>,
    /// Keys that were undone: what comes late under them is refused.
    undone: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: u32,
}

pub(crate) type Context<In = Order> = Cx<Arc<World>, In>;

/// What an instance is started with.
pub(crate) trait Input: Send + Sync + 'static {
    fn number(&self) -> u32;
}

impl Input for Order {
    fn number(&self) -> u32 {
        self.number
    }
}

impl Input for String {
    fn number(&self) -> u32 {
        0
    }
}

impl World {
    pub(crate) fn told(self, step: &str, what: &[Do]) -> Self {
        let script = what.iter().copied().collect();
        self.script.lock().unwrap().insert(step.to_owned(), script);
        self
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// Steps whose effect is there.
    pub(crate) fn effects(&self) -> Vec<String> {
        let mut effects: Vec<_> = self.effects.lock().unwrap().values().cloned().collect();
        effects.sort();
        effects
    }

    async fn act(&self, step: String) -> Do {
        let next = {
            let mut script = self.script.lock().unwrap();
            script.get_mut(&step).and_then(VecDeque::pop_front)
        };
        self.calls.lock().unwrap().push(step);
        match next {
            Some(Do::Hang) => {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
                Do::LoseReply
            }
            Some(Do::Rest) => {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Do::Succeed
            }
            Some(Do::Panic) => panic!("as told"),
            next => next.unwrap_or(Do::Succeed),
        }
    }

    fn put(&self, key: String, step: &str) -> Result<(), StepError> {
        if self.undone.lock().unwrap().contains(&key) {
            return Err(StepError::failed("it was undone"));
        }
        self.effects.lock().unwrap().insert(key, step.to_owned());
        Ok(())
    }
}

/// A step by its name.
pub(crate) async fn step<In: Input>(cx: Context<In>) -> Result<String, StepError> {
    let name = cx.step().to_owned();
    match cx.app().act(format!("+{name}")).await {
        Do::Fail => Err(StepError::failed("refused")),
        Do::NotExecuted => Err(StepError::not_executed("not reached")),
        Do::LoseReply => {
            cx.app().put(cx.key(), &name)?;
            Err(StepError::unknown("no reply"))
        }
        _ => {
            cx.app().put(cx.key(), &name)?;
            Ok(format!("{name} of {}", cx.input().number()))
        }
    }
}

pub(crate) async fn after_one<In: Input>(
    cx: Context<In>,
    _before: String,
) -> Result<String, StepError> {
    step(cx).await
}

pub(crate) async fn after_two(cx: Context, _: (String, String)) -> Result<String, StepError> {
    step(cx).await
}

/// The undo of a step, by its name.
pub(crate) async fn undo<In: Input>(
    cx: Context<In>,
    attempt: Attempt<String>,
) -> Result<(), UndoError> {
    let name = cx.step().to_owned();
    let sign = match attempt {
        Attempt::Done(_) => "-",
        Attempt::Unknown => "?",
    };
    match cx.app().act(format!("{sign}{name}")).await {
        Do::Fail => return Err(UndoError::give_up("refused")),
        Do::NotExecuted | Do::LoseReply => return Err(UndoError::again("not reached")),
        _ => {}
    }
    cx.app().undone.lock().unwrap().insert(cx.key());
    cx.app().effects.lock().unwrap().remove(&cx.key());
    Ok(())
}

/// A store in memory whose clock is the runtime's.
pub(crate) fn memory() -> (Store, TestClock) {
    let clock = TestClock::going_from(Timestamp::from_millis(1_800_000_000_000));
    (MemoryStore::with_clock(clock.clone()).into_store(), clock)
}
