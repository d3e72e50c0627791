use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{Builder, Engine, Entry, News, Operator, Outcome, Saga, Standing, Version};
use tokio::time::timeout;

use crate::world::{Do, Order, World, memory, step, undo};

fn saga(version: u32) -> Saga<Arc<World>, Order, String> {
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(version));
    let held = saga.step("hold", step).undo(undo);
    saga.build(held).unwrap()
}

/// SAG-10: whoever follows is told each record of the group's instances once, in order, and nothing of another group.
#[tokio::test(start_paused = true)]
async fn what_happens_is_followed() {
    let (store, clock) = memory();
    let saga = saga(1);
    let engine = |group: &str| {
        let engine = Engine::builder(store.clone(), Arc::new(World::default())).run(&saga);
        let engine = engine.group(group).clock(clock.clone());
        engine.allow_volatile().start()
    };
    let (engine, other) = (engine("default").await, engine("other").await);
    let (engine, other) = (engine.unwrap(), other.unwrap());
    let operator = Operator::new(store.clone());
    let mut follow = operator.follow().await.unwrap();
    for engine in [&other, &engine] {
        let handle = engine.start(&saga, "7", Order { number: 7 });
        handle.await.unwrap().settled().await.unwrap();
    }
    let mut told = Vec::new();
    let end = Entry::End {
        outcome: Outcome::Done,
    };
    while told.last() != Some(&end) {
        let seen = timeout(Duration::from_secs(60), follow.next()).await;
        for seen in seen.expect("it is told").unwrap() {
            let News::Record { record, .. } = seen.news else {
                panic!("{seen:?}")
            };
            told.extend(record.entries);
        }
    }
    let shown = operator.show("order", "7").await.unwrap();
    let log = shown.records.into_iter().flat_map(|record| record.entries);
    assert_eq!(told, log.collect::<Vec<_>>());
    let silent = timeout(Duration::from_secs(60), follow.next()).await;
    assert!(silent.is_err(), "{silent:?}");
}

/// SAG-10: what no worker knows is told, and shown with the reason.
#[tokio::test(start_paused = true)]
async fn what_needs_an_upgrade_is_followed() {
    let (store, clock) = memory();
    let engine = |saga: &Saga<_, _, _>| {
        let world = World::default().told("+hold", &[Do::Hang]);
        let engine = Engine::builder(store.clone(), Arc::new(world)).run(saga);
        engine.clock(clock.clone()).allow_volatile().start()
    };
    let (old, new) = (saga(1), saga(2));
    let first = engine(&old).await.unwrap();
    let operator = Operator::new(store.clone());
    let mut follow = operator.follow().await.unwrap();
    first.start(&old, "7", Order { number: 7 }).await.unwrap();
    drop(first);
    let _second = engine(&new).await.unwrap();
    let why = loop {
        let seen = timeout(Duration::from_secs(60), follow.next()).await;
        let seen = seen.expect("it is told").unwrap();
        let hindered = seen.into_iter().find_map(|seen| match seen.news {
            News::Hindered { standing, why, .. } => Some((standing, why)),
            _ => None,
        });
        if let Some((standing, why)) = hindered {
            assert_eq!(standing, Standing::NeedsUpgrade);
            break why;
        }
    };
    let shown = operator.show("order", "7").await.unwrap();
    assert_eq!(shown.standing, Standing::NeedsUpgrade);
    assert_eq!(shown.hindrance, why);
}
