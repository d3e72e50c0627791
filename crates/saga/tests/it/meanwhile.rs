//! What a worker writes while a person decides.

use std::sync::{Arc, Mutex};

use backstay_saga::{Action, Builder, By, Engine, Entry, Json, Operator, Saga, Settled, Version};
use backstay_store::{
    Backend, Batch, Between, Commit, CommitError, Event, MemoryStore, Pending, Put, Store,
    TestClock, Timestamp,
};
use futures_util::FutureExt;
use serde_json::json;

use crate::world::{Do, Order, World, after_one, step, undo};

/// A store in memory in which others commit something just before the next commit.
#[derive(Debug)]
struct Meanwhile {
    store: MemoryStore,
    earlier: Arc<Mutex<Option<Batch>>>,
}

impl Between for Meanwhile {
    type Below = MemoryStore;

    fn below(&self) -> &MemoryStore {
        &self.store
    }

    fn commit(&self, batch: Batch) -> Pending<'_, Commit, CommitError> {
        let earlier = self.earlier.lock().unwrap().take();
        async move {
            if let Some(earlier) = earlier {
                self.store.commit(earlier).await?;
            }
            self.store.commit(batch).await
        }
        .boxed()
    }
}

fn saga(version: u32) -> Saga<Arc<World>, Order, String> {
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(version));
    if version == 2 {
        saga.step("check", step).nothing_to_undo();
    }
    let hold = saga.step("hold", step).undo(undo);
    let charge = saga.step("charge", after_one).needs(hold).pivot();
    saga.build(charge).unwrap()
}

/// SAG-8, SAG-10: what is skipped is the step of that name, also in the graph to which a worker moves the instance meanwhile.
#[tokio::test(start_paused = true)]
async fn a_step_is_skipped_by_its_name() {
    let clock = TestClock::going_from(Timestamp::from_millis(1_800_000_000_000));
    let earlier = Arc::default();
    let store = Store::new(Meanwhile {
        store: MemoryStore::with_clock(clock.clone()),
        earlier: Arc::clone(&earlier),
    });
    let world = World::default().told("+charge", &[Do::LoseReply, Do::Fail]);
    let engine = Engine::builder(store.clone(), Arc::new(world)).run(&saga(1));
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let handle = engine
        .start(&saga(1), "7", Order { number: 7 })
        .await
        .unwrap();
    let settled = handle.settled().await.unwrap();
    assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
    drop((handle, engine));

    let newer = saga(2);
    let fingerprint = newer.graph().fingerprint();
    let record = json!({
        "at": 1, "entries": [{"migrate": {"graph": fingerprint, "steps": [1, 2]}}],
    });
    let graph = serde_json::to_vec(newer.graph()).unwrap();
    let moved = Batch::new()
        .put(format!("saga/default/graph/{fingerprint}"), Put::new(graph))
        .append(
            "saga/default/order/7",
            Event::new("saga", record.to_string()),
        );
    *earlier.lock().unwrap() = Some(moved);
    let operator = Operator::new(store);
    let (output, by) = (Json::parse("\"seen\""), By::new("eva", "it is booked"));
    let skipped = operator.skip("order", "7", "charge", Some(output.unwrap()), by.unwrap());
    skipped.await.unwrap();
    let shown = operator.show("order", "7").await.unwrap();
    let states = shown.steps.iter().map(|step| (&*step.name, step.state));
    let expected = [("check", "waiting"), ("hold", "done"), ("charge", "done")];
    assert_eq!(states.collect::<Vec<_>>(), expected);
    let Some(Entry::Act(act)) = shown.records.last().unwrap().entries.first() else {
        panic!("{shown:?}")
    };
    assert!(
        matches!(act.action, Action::Skip { step: 2, .. }),
        "{act:?}"
    );
}
