//! Several workers on one store.

use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{Builder, Engine, EngineError, Saga, Settled, Version};
use backstay_store::{Store, TestClock};
use tokio::time::sleep;

use crate::world::{Do, Order, World, after_one, memory, step, undo};

type Made = Saga<Arc<World>, Order, String>;

fn saga() -> Made {
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let one = saga.step("one", step).undo(undo);
    let two = saga.step("two", after_one).needs(one).undo(undo);
    saga.build(two).unwrap()
}

async fn engine(world: &Arc<World>, (store, clock): &(Store, TestClock)) -> Engine<Arc<World>> {
    let engine = Engine::builder(store.clone(), world.clone()).run(&saga());
    let engine = engine.clock(clock.clone()).allow_volatile();
    engine.start().await.unwrap()
}

async fn start(engine: &Engine<Arc<World>>, number: u32) -> Settled<String> {
    let order = Order { number };
    let handle = engine
        .start(&saga(), &number.to_string(), order)
        .await
        .unwrap();
    handle.settled().await.unwrap()
}

/// SAG-7: a worker that comes later gets its share, and instances run wherever they are started.
#[tokio::test(start_paused = true)]
async fn work_is_shared() {
    let (world, home) = (Arc::new(World::default()), memory());
    let first = engine(&world, &home).await;
    let second = engine(&world, &home).await;
    // Shards are given up and taken.
    sleep(Duration::from_secs(30)).await;
    for number in 0..64 {
        let by = if number % 2 == 0 { &first } else { &second };
        assert_eq!(
            start(by, number).await,
            Settled::Done(format!("two of {number}"))
        );
    }
    assert_eq!(world.calls().len(), 128);
    for engine in [&first, &second] {
        assert_eq!(engine.shards(), 8);
    }
    // What the lost one had, the other takes.
    drop(first);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(second.shards(), 16);
}

/// A worker that drains ends its calls, begins no other, and gives its instances away at once.
#[tokio::test(start_paused = true)]
async fn a_worker_drains() {
    let world = Arc::new(World::default().told("+one", &[Do::Rest]));
    let home = memory();
    let first = engine(&world, &home).await;
    first
        .start(&saga(), "1", Order { number: 1 })
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    first.drain(Duration::from_secs(60)).await;
    assert_eq!(world.calls(), ["+one"]);
    let second = engine(&world, &home).await;
    assert_eq!(second.shards(), 16);
    assert_eq!(
        start(&second, 1).await,
        Settled::Done("two of 1".to_owned())
    );
    assert_eq!(world.calls(), ["+one", "+two"]);
}

/// A call that does not end in time is cut off, and nobody forgets it.
#[tokio::test(start_paused = true)]
async fn a_drain_is_bounded() {
    let world = Arc::new(World::default().told("+one", &[Do::Hang]));
    let home = memory();
    let first = engine(&world, &home).await;
    first
        .start(&saga(), "1", Order { number: 1 })
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    first.drain(Duration::from_secs(5)).await;
    let second = engine(&world, &home).await;
    assert_eq!(
        start(&second, 1).await,
        Settled::Done("two of 1".to_owned())
    );
    assert_eq!(world.calls(), ["+one", "+one", "+two"]);
}

/// More than may run at once wait for a place; those that only wait for time leave theirs.
#[tokio::test(start_paused = true)]
async fn places_are_bounded() {
    let world = Arc::new(World::default().told("+one", &[Do::NotExecuted]));
    let (store, clock) = memory();
    let engine = Engine::builder(store, world.clone()).run(&saga()).limit(1);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let first = engine
        .start(&saga(), "1", Order { number: 1 })
        .await
        .unwrap();
    assert_eq!(
        start(&engine, 2).await,
        Settled::Done("two of 2".to_owned())
    );
    assert_eq!(
        first.settled().await.unwrap(),
        Settled::Done("two of 1".to_owned())
    );
}

/// What can't be is refused by name.
#[tokio::test(start_paused = true)]
async fn options_are_checked() {
    let store = memory().0;
    let builder = || Engine::builder(store.clone(), Arc::new(World::default())).run(&saga());
    assert_eq!(builder().start().await.unwrap_err(), EngineError::Volatile);
    let none = Engine::builder(store.clone(), ())
        .allow_volatile()
        .start()
        .await;
    assert_eq!(none.unwrap_err(), EngineError::NoSaga);
    let wrong = [
        (builder().limit(0), "limit = 0: must be in 1..=1000000"),
        (
            builder().ttl(Duration::ZERO),
            "ttl = 0ns: must be in 300ms..=3600s",
        ),
        (
            builder().group("a/b"),
            "group = \"a/b\": has 1 to 64 characters of a-z, A-Z, 0-9, `-`, `_` and `.`",
        ),
    ];
    for (builder, told) in wrong {
        assert_eq!(
            builder
                .allow_volatile()
                .start()
                .await
                .unwrap_err()
                .to_string(),
            told
        );
    }
    let engine = builder().allow_volatile().start().await.unwrap();
    let long = "x".repeat(101);
    for id in ["", "a\nb", "a/b", &long] {
        let error = engine
            .start(&saga(), id, Order { number: 1 })
            .await
            .unwrap_err();
        let told = "must have 1 to 100 bytes, none of them `/` or a control character";
        assert!(error.to_string().ends_with(told), "{error}");
    }
}
