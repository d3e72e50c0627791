use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{Builder, By, Engine, Operator, Saga, SettleError, Settled, Standing, Version};
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

/// SAG-8: what a parked instance says of a step is about the same step in the new graph.
#[tokio::test(start_paused = true)]
async fn a_parked_instance_moves_with_its_reason() {
    fn third() -> Made {
        let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(3));
        saga.upgrades(Version(1), &[]);
        saga.step("log", step).nothing_to_undo();
        let hold = saga.step("hold", step).undo(undo);
        let ship = saga.step("ship", after_one).needs(hold).undo(undo);
        saga.build(ship).unwrap()
    }
    let (store, clock) = memory();
    let world = World::default().told("+ship", &[Do::Fail]);
    let world = Arc::new(world.told("-hold", &[Do::Fail]));
    let engine = |saga: Made| {
        let engine = Engine::builder(store.clone(), world.clone()).run(&saga);
        engine.clock(clock.clone()).allow_volatile().start()
    };
    let old = engine(first()).await.unwrap();
    let handle = old.start(&first(), "7", Order { number: 7 }).await.unwrap();
    let why = r#"step "hold" can't be undone: refused"#;
    let Settled::Parked(parked) = handle.settled().await.unwrap() else {
        panic!("its undo was refused");
    };
    assert_eq!(parked.to_string(), why);
    drop((old, handle));

    let new = engine(third()).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let operator = Operator::new(store.clone());
    let listed = operator.active(None).await.unwrap().instances;
    assert_eq!(listed[0].why.as_deref(), Some(why));
    let by = By::new("eva", "the room is free").unwrap();
    operator.retry("order", "7", by).await.unwrap();
    let handle = new.start(&third(), "7", Order { number: 7 }).await.unwrap();
    let Settled::Undone(undone) = handle.ended().await.unwrap() else {
        panic!("it was tried again");
    };
    assert_eq!(undone.to_string(), r#"step "ship" can't be done: refused"#);
}

/// SAG-6: the same id is the same instance, also for code of another version; what it has come to is read as what it ran.
#[tokio::test(start_paused = true)]
async fn an_output_is_read_as_what_ran() {
    fn other() -> Saga<Arc<World>, Order, (String, String)> {
        let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(2));
        let ship = saga.step("ship", step).undo(undo);
        let hold = saga.step("hold", after_one).needs(ship).undo(undo);
        saga.build((ship, hold)).unwrap()
    }
    let (store, clock) = memory();
    let world = Arc::new(World::default());
    let engine = || Engine::builder(store.clone(), world.clone()).clock(clock.clone());
    let old = engine().run(&first()).allow_volatile();
    let old = old.start().await.unwrap();
    let handle = old.start(&first(), "7", Order { number: 7 }).await.unwrap();
    handle.settled().await.unwrap();
    drop((old, handle));

    let new = engine().run(&other()).allow_volatile();
    let new = new.start().await.unwrap();
    let handle = new.start(&other(), "7", Order { number: 7 }).await.unwrap();
    let settled = handle.settled().await;
    let Err(SettleError::NotRegistered { saga, version }) = settled else {
        panic!("{settled:?}");
    };
    assert_eq!((&*saga, version), ("order", Version(1)));
    drop((new, handle));

    let both = engine().run(&first()).run(&other()).allow_volatile();
    let both = both.start().await.unwrap();
    let handle = both
        .start(&other(), "7", Order { number: 7 })
        .await
        .unwrap();
    let settled = handle.settled().await;
    assert!(
        matches!(settled, Err(SettleError::Unreadable(_))),
        "{settled:?}"
    );
}
