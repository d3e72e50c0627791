//! What a hostile reader would try.

use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{Builder, By, Engine, EngineBuilder, Operator, Saga, Settled, Version};
use backstay_store::TestClock;
use tokio::time::{sleep, timeout};

use crate::world::{Do, Order, World, after_one, memory, step, undo};

type Made = Saga<Arc<World>, Order, String>;

fn inner() -> Saga<Arc<World>, String, String> {
    let inner: Builder<Arc<World>, String> = Saga::builder("inner", Version(1));
    let one = inner.step("one", step).undo(undo);
    inner.build(one).unwrap()
}

fn outer(name: &str) -> Made {
    let saga: Builder<Arc<World>, Order> = Saga::builder(name, Version(1));
    let zero = saga.step("zero", step).undo(undo);
    let inner = saga.child("inner", &inner()).needs(zero).undo_child();
    let two = saga.step("two", after_one).needs(inner).undo(undo);
    saga.build(two).unwrap()
}

fn with_pivot() -> Made {
    let saga: Builder<Arc<World>, Order> = Saga::builder("paid", Version(1));
    let hold = saga.step("hold", step).undo(undo);
    let paid = saga.step("charge", after_one).needs(hold).pivot();
    saga.step("mail", after_one).needs(paid).until_done();
    saga.build(paid).unwrap()
}

fn by() -> By {
    By::new("eva", "asked to").unwrap()
}

/// SAG-6: sagas within sagas of one id are not one.
#[tokio::test(start_paused = true)]
async fn two_parents_have_two_children() {
    let (store, clock) = memory();
    let world = Arc::new(World::default().told("+two", &[Do::Fail]));
    let (first, second) = (outer("first"), outer("second"));
    let engine = Engine::builder(store, world.clone())
        .run(&first)
        .run(&second);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let undone = engine
        .start(&first, "7", Order { number: 7 })
        .await
        .unwrap();
    assert!(matches!(
        undone.settled().await.unwrap(),
        Settled::Undone(_)
    ));
    let done = engine
        .start(&second, "7", Order { number: 7 })
        .await
        .unwrap();
    assert_eq!(
        done.settled().await.unwrap(),
        Settled::Done("two of 7".to_owned())
    );
    assert_eq!(world.effects(), ["one", "two", "zero"]);
}

/// Whoever waits for a saga within it leaves its place to it.
#[tokio::test(start_paused = true)]
async fn one_place_is_enough_for_a_family() {
    let (store, clock) = memory();
    let world = Arc::new(World::default());
    let saga = outer("outer");
    let engine = Engine::builder(store, world.clone()).run(&saga).limit(1);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    assert_eq!(
        handle.settled().await.unwrap(),
        Settled::Done("two of 7".to_owned())
    );
}

/// SAG-3: whoever wants it undone while nobody knows of the pivot is asked to look first.
#[tokio::test(start_paused = true)]
async fn a_wish_to_undo_does_not_decide_of_the_pivot() {
    for script in [
        &[Do::LoseReply, Do::Hang][..],
        &[Do::Hang, Do::Hang, Do::Hang],
    ] {
        let (store, clock) = memory();
        let world = Arc::new(World::default().told("+charge", script));
        let saga = with_pivot();
        let engine = Engine::builder(store.clone(), world.clone()).run(&saga);
        let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
        let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        let operator = Operator::new(store);
        operator.undo("paid", "7", by()).await.unwrap();
        let settled = handle.settled().await.unwrap();
        assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
        assert!(world.effects().contains(&"hold".to_owned()));
        // Who has looked says that it has not happened.
        operator.undo("paid", "7", by()).await.unwrap();
        let settled = handle.ended().await.unwrap();
        assert!(matches!(settled, Settled::Undone(_)), "{settled:?}");
        assert!(!world.effects().contains(&"hold".to_owned()));
    }
}

/// A wish to undo that comes while the pivot is being done comes too late, and takes nothing from what follows.
#[tokio::test(start_paused = true)]
async fn a_wish_that_came_too_late_is_forgotten() {
    let (store, clock) = memory();
    let world = World::default().told("+charge", &[Do::Rest]);
    let world = Arc::new(world.told("+mail", &[Do::NotExecuted; 5]));
    let saga = with_pivot();
    let engine = Engine::builder(store.clone(), world.clone()).run(&saga);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    Operator::new(store).undo("paid", "7", by()).await.unwrap();
    let settled = handle.settled().await.unwrap();
    assert_eq!(settled, Settled::Done("charge of 7".to_owned()));
}

/// SAG-7: a worker that came and went leaves no shard behind that nobody runs.
#[tokio::test(start_paused = true)]
async fn shards_that_were_to_leave_stay() {
    let (store, clock) = memory();
    let world = Arc::new(World::default().told("+zero", &[Do::Hang; 40]));
    let saga = outer("outer");
    let engine = || {
        let builder: EngineBuilder<_> = Engine::builder(store.clone(), world.clone()).run(&saga);
        builder.clock(clock.clone()).allow_volatile().start()
    };
    let first = engine().await.unwrap();
    // Calls that take long keep the shards from leaving.
    for number in 0..40 {
        let order = Order { number };
        first
            .start(&saga, &format!("busy-{number}"), order)
            .await
            .unwrap();
    }
    let second = engine().await.unwrap();
    sleep(Duration::from_secs(8)).await;
    drop(second);
    sleep(Duration::from_secs(60)).await;
    for number in 100..132 {
        let handle = first
            .start(&saga, &number.to_string(), Order { number })
            .await
            .unwrap();
        let settled = timeout(Duration::from_secs(600), handle.settled()).await;
        let settled = settled.expect("its shard is run").unwrap();
        assert_eq!(settled, Settled::Done(format!("two of {number}")));
    }
}

/// SAG-9: values that are large together do not stand in one record's way.
#[tokio::test(start_paused = true)]
async fn large_signals_are_taken() {
    let (store, clock) = memory();
    let saga: Builder<Arc<World>, Order> = Saga::builder("large", Version(1));
    let hold = saga.step("hold", step).undo(undo);
    let one = saga
        .signal::<String>("one", None)
        .after(hold)
        .nothing_to_undo();
    let two = saga
        .signal::<String>("two", None)
        .after(hold)
        .nothing_to_undo();
    let saga = saga.build((one, two)).unwrap();
    let world = Arc::new(World::default().told("+hold", &[Do::Rest]));
    let engine = Engine::builder(store.clone(), world)
        .run(&saga)
        .clock(clock);
    let engine = engine.allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    let operator = Operator::new(store);
    let large = "x".repeat(700_000);
    for name in ["one", "two"] {
        let sent = operator.signal("large", "7", name, &large, by()).await;
        assert_eq!(sent, Ok(true));
    }
    let settled = handle.settled().await.unwrap();
    assert_eq!(settled, Settled::Done((large.clone(), large)));
}

/// SAG-10: what a person wants of an instance that ends just then is not left lying.
#[tokio::test(start_paused = true)]
async fn a_wish_at_the_last_moment_is_heard() {
    let (store, clock) = memory();
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let one = saga.step("one", step).undo(undo);
    let saga = saga.build(one).unwrap();
    let world = Arc::new(World::default());
    let engine = Engine::builder(store.clone(), world).run(&saga);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let operator = Operator::new(store);
    for number in 0..50 {
        let id = number.to_string();
        let handle = engine.start(&saga, &id, Order { number }).await.unwrap();
        let mut settled = handle.settled().await.unwrap();
        operator.undo("order", &id, by()).await.unwrap();
        let asked = tokio::time::Instant::now();
        while !matches!(settled, Settled::Undone(_)) {
            assert!(asked.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(10)).await;
            settled = handle.settled().await.unwrap();
        }
    }
}

/// SAG-6: whoever asks for an instance that is there needs no place for it.
#[tokio::test(start_paused = true)]
async fn a_start_again_needs_no_place() {
    let (store, clock) = memory();
    let world = Arc::new(World::default().told("+zero", &[Do::Hang]));
    let saga = outer("outer");
    let engine = Engine::builder(store, world).run(&saga).limit(1);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let start = |id: &'static str| {
        let started = engine.start(&saga, id, Order { number: 7 });
        timeout(Duration::from_secs(1), started)
    };
    start("7").await.unwrap().unwrap();
    start("7").await.expect("it is there").unwrap();
    assert!(start("8").await.is_err());
}

/// SAG-9: a worker whose clock was ahead leaves no wait behind that is longer than it was to be.
#[tokio::test(start_paused = true)]
async fn a_clock_ahead_delays_nothing() {
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let zero = saga.step("zero", step).undo(undo);
    let pause = saga.sleep("pause", Duration::from_secs(20)).after(zero);
    let pause = pause.nothing_to_undo();
    let one = saga.step("one", step).after(pause).undo(undo);
    let saga = saga.build(one).unwrap();
    // Lost while a step rests, and while the saga sleeps.
    for script in [&[Do::NotExecuted][..], &[]] {
        let (store, clock) = memory();
        let world = Arc::new(World::default().told("+zero", script));
        let ahead = TestClock::going_from(clock.now().plus(Duration::from_secs(3_600)));
        let engine = |clock: &TestClock| {
            let engine = Engine::builder(store.clone(), world.clone()).run(&saga);
            engine.clock(clock.clone()).allow_volatile().start()
        };
        let lost = engine(&ahead).await.unwrap();
        lost.start(&saga, "7", Order { number: 7 }).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        drop(lost);
        let next = engine(&clock).await.unwrap();
        let handle = next.start(&saga, "7", Order { number: 7 }).await.unwrap();
        let settled = timeout(Duration::from_secs(60), handle.settled()).await;
        let settled = settled.expect("it waits no hour").unwrap();
        assert_eq!(settled, Settled::Done("one of 7".to_owned()));
    }
}
