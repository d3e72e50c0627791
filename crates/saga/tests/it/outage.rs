//! The store stalls, or is closed.

use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{Builder, Engine, Saga, SettleError, Settled, StepError, Version};
use backstay_store::{
    Backend, Batch, Between, Cause, Commit, CommitError, Effect, MemoryStore, Pending, Store,
    TestClock, Timestamp, Unavailable,
};
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::world::{Context, Do, Order, World, after_one, after_two, step, undo};

type Made = Saga<Arc<World>, Order, String>;

/// How the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Well,
    /// Whoever commits to a log waits.
    Stalled,
    Closed,
}

#[derive(Debug)]
struct Shaky {
    store: MemoryStore,
    is: watch::Sender<Is>,
}

impl Between for Shaky {
    type Below = MemoryStore;

    fn below(&self) -> &MemoryStore {
        &self.store
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        async move {
            if batch.streams().next().is_some() {
                let mut is = self.is.subscribe();
                let _ = is.wait_for(|is| *is != Is::Stalled).await;
            }
            self.ask(self.store.commit(batch)).await
        }
        .boxed()
    }

    fn ask<'s, T, E>(&'s self, asked: Pending<'s, T, E>) -> Pending<'s, T, E>
    where
        T: Send + 's,
        E: From<Unavailable> + Send + 's,
    {
        async move {
            if *self.is.borrow() == Is::Closed {
                return Err(Unavailable::new(Cause::Closed, Effect::NotExecuted).into());
            }
            asked.await
        }
        .boxed()
    }
}

fn shaky() -> (Store, TestClock, watch::Sender<Is>) {
    let clock = TestClock::going_from(Timestamp::from_millis(1_800_000_000_000));
    let store = MemoryStore::with_clock(clock.clone());
    let is = watch::Sender::new(Is::Well);
    let store = Shaky {
        store,
        is: is.clone(),
    };
    (Store::new(store), clock, is)
}

async fn takes_two_seconds(cx: Context) -> Result<String, StepError> {
    sleep(Duration::from_secs(2)).await;
    step(cx).await
}

/// SAG-7: a step goes on while its saga waits for the store to write another one's end.
#[tokio::test(start_paused = true)]
async fn steps_go_on_while_the_store_stalls() {
    let (store, clock, is) = shaky();
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let slow = saga.step("slow", takes_two_seconds).undo(undo);
    let quick = saga.step("quick", step).undo(undo);
    let last = saga.step("last", after_two).needs((slow, quick)).undo(undo);
    let saga = saga.build(last).unwrap();
    let world = Arc::new(World::default());
    let engine = Engine::builder(store, world.clone()).run(&saga);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    is.send_replace(Is::Stalled);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.effects(), ["quick", "slow"]);
    is.send_replace(Is::Well);
    let settled = handle.settled().await.unwrap();
    assert_eq!(settled, Settled::Done("last of 7".to_owned()));
    assert_eq!(world.calls().len(), 3);
}

/// SAG-7: nobody waits for ever on a store that says no more.
#[tokio::test(start_paused = true)]
async fn a_closed_store_is_told() {
    let (store, clock, is) = shaky();
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let one = saga.step("one", step).undo(undo);
    let two = saga.step("two", after_one).needs(one).undo(undo);
    let saga: Made = saga.build(two).unwrap();
    let world = Arc::new(World::default().told("+one", &[Do::Rest]));
    let engine = Engine::builder(store, world).run(&saga);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    is.send_replace(Is::Closed);
    let long = Duration::from_secs(60);
    for _ in 0..2 {
        let settled = timeout(long, handle.settled()).await.expect("it is told");
        assert!(
            matches!(settled, Err(SettleError::Unavailable(_))),
            "{settled:?}"
        );
    }
    let drained = timeout(2 * long, engine.drain(long)).await;
    drained.expect("it drains");
}
