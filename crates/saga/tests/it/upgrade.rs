use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{Builder, Engine, Operator, Saga, Settled, Standing, Version};
use tokio::time::sleep;

use crate::world::{Do, Order, World, after_one, memory, step, undo};

type Made = Saga<Arc<World>, Order, String>;

fn first() -> Made {
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let hold = saga.step("hold", step).undo(undo);
    let ship = saga.step("ship", after_one).needs(hold).undo(undo);
    saga.build(ship).unwrap()
}

/// A step is renamed, and one comes in between.
fn second(upgrades: bool) -> Made {
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(2));
    if upgrades {
        saga.upgrades(Version(1), &[("hold", "reserve")]);
    }
    let reserve = saga.step("reserve", step).undo(undo);
    let check = saga
        .step("check", after_one)
        .needs(reserve)
        .nothing_to_undo();
    let ship = saga.step("ship", after_one).needs(check).undo(undo);
    saga.build(ship).unwrap()
}

/// SAG-8: an instance runs the graph that it began with, also beside a newer one; without its code it waits, and is listed;
/// an upgrade that is declared moves it.
#[tokio::test(start_paused = true)]
async fn an_instance_keeps_its_graph() {
    for in_first in ["+hold", "+ship"] {
        let (store, clock) = memory();
        let world = Arc::new(World::default().told(in_first, &[Do::Hang]));
        let engine = |sagas: Vec<Made>| {
            let engine = Engine::builder(store.clone(), world.clone());
            let engine = sagas.iter().fold(engine, backstay_saga::EngineBuilder::run);
            engine.clock(clock.clone()).allow_volatile().start()
        };
        let old = engine(vec![first()]).await.unwrap();
        old.start(&first(), "7", Order { number: 7 }).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        drop(old);

        let unknown = engine(vec![second(false)]).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        let operator = Operator::new(store.clone());
        let listed = operator.active(None).await.unwrap().instances;
        assert_eq!(listed[0].standing, Standing::NeedsUpgrade);
        let why = "order 1 has no code here, and nothing says how it is upgraded";
        assert_eq!(listed[0].why.as_deref(), Some(why));
        drop(unknown);

        if in_first == "+hold" {
            let new = engine(vec![second(true)]).await.unwrap();
            let handle = new
                .start(&second(true), "7", Order { number: 7 })
                .await
                .unwrap();
            let settled = handle.settled().await.unwrap();
            assert_eq!(settled, Settled::Done("ship of 7".to_owned()));
            assert_eq!(world.calls(), ["+hold", "+reserve", "+check", "+ship"]);
        } else {
            // What has begun would come after a step that is new.
            let new = engine(vec![second(true)]).await.unwrap();
            sleep(Duration::from_secs(60)).await;
            let listed = operator.active(None).await.unwrap().instances;
            assert_eq!(listed[0].standing, Standing::NeedsUpgrade);
            let why =
                "step \"ship\" has begun and comes in the new graph after steps that are not done";
            assert_eq!(listed[0].why.as_deref(), Some(why));
            drop(new);
            let both = engine(vec![first(), second(true)]).await.unwrap();
            let handle = both
                .start(&first(), "7", Order { number: 7 })
                .await
                .unwrap();
            let settled = handle.settled().await.unwrap();
            assert_eq!(settled, Settled::Done("ship of 7".to_owned()));
            assert_eq!(world.calls(), ["+hold", "+ship", "+ship"]);
        }
    }
}
