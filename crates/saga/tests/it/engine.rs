use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{Builder, Engine, Retry, Saga, Settled, StartError, Version};
use backstay_store::{Store, TestClock};

use crate::world::{Do, Order, World, after_one, after_two, memory, step, undo};

type Trip = Saga<Arc<World>, Order, String>;

/// hold, then seat and car at once, then the charge, then the mail.
fn trip() -> Trip {
    let trip: Builder<Arc<World>, Order> = Saga::builder("trip", Version(1));
    let hold = trip.step("hold", step).undo(undo);
    let seat = trip.step("seat", after_one).needs(hold).undo(undo);
    let car = trip.step("car", after_one).needs(hold).undo(undo);
    let paid = trip.step("charge", after_two).needs((seat, car)).pivot();
    trip.step("mail", after_one).needs(paid).until_done();
    trip.build(paid).unwrap()
}

async fn engine(
    world: &Arc<World>,
    saga: &Trip,
    (store, clock): &(Store, TestClock),
) -> Engine<Arc<World>> {
    let engine = Engine::builder(store.clone(), world.clone()).run(saga);
    let engine = engine.clock(clock.clone()).allow_volatile();
    engine.start().await.unwrap()
}

async fn run(world: World) -> (Arc<World>, Settled<String>) {
    let (world, saga, home) = (Arc::new(world), trip(), memory());
    let engine = engine(&world, &saga, &home).await;
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    let settled = handle.settled().await.unwrap();
    (world, settled)
}

/// SAG-1: all steps are done, each once, in the order of what they need.
#[tokio::test(start_paused = true)]
async fn all_is_done() {
    let (world, settled) = run(World::default()).await;
    assert_eq!(settled, Settled::Done("charge of 7".to_owned()));
    assert_eq!(
        world.calls(),
        ["+hold", "+seat", "+car", "+charge", "+mail"]
    );
}

/// SAG-1, SAG-3: a step that failed is not undone, and what was done before it is, in reverse.
#[tokio::test(start_paused = true)]
async fn what_was_done_is_undone() {
    let (world, settled) = run(World::default().told("+charge", &[Do::Fail])).await;
    let Settled::Undone(why) = settled else {
        panic!("{settled:?}");
    };
    assert_eq!(why.to_string(), "step \"charge\" can't be done: refused");
    let calls = world.calls();
    assert_eq!(calls[..4], ["+hold", "+seat", "+car", "+charge"]);
    assert_eq!(calls[4..], ["-car", "-seat", "-hold"]);
    assert!(world.effects().is_empty());
}

/// SAG-3: what nobody knows of is tried again under the same key.
#[tokio::test(start_paused = true)]
async fn what_is_unknown_is_tried_again() {
    let lost = World::default().told("+charge", &[Do::LoseReply, Do::Panic, Do::Hang]);
    let (world, settled) = run(lost).await;
    assert_eq!(settled, Settled::Done("charge of 7".to_owned()));
    assert_eq!(
        world
            .calls()
            .iter()
            .filter(|call| *call == "+charge")
            .count(),
        4
    );
    assert_eq!(world.effects(), ["car", "charge", "hold", "mail", "seat"]);
}

/// SAG-3: a step that may have happened is undone too.
#[tokio::test(start_paused = true)]
async fn what_may_have_happened_is_undone() {
    let lost = World::default().told("+seat", &[Do::LoseReply, Do::Fail]);
    let (world, settled) = run(lost).await;
    assert!(matches!(settled, Settled::Undone(_)), "{settled:?}");
    assert!(
        world.calls().contains(&"?seat".to_owned()),
        "{:?}",
        world.calls()
    );
    assert!(world.effects().is_empty());
}

/// SAG-1: a pivot of which nobody knows is neither undone nor forgotten.
#[tokio::test(start_paused = true)]
async fn an_unclear_pivot_is_parked() {
    let lost = World::default().told("+charge", &[Do::LoseReply, Do::Fail]);
    let (world, settled) = run(lost).await;
    assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
    assert_eq!(world.effects(), ["car", "charge", "hold", "seat"]);
}

/// SAG-4: an undo is tried until it is done, and parks the saga where it can't be.
#[tokio::test(start_paused = true)]
async fn an_undo_is_never_swallowed() {
    let again = [Do::NotExecuted; 30];
    let world = World::default()
        .told("+charge", &[Do::Fail])
        .told("-hold", &again);
    let (world, settled) = run(world).await;
    assert!(matches!(settled, Settled::Undone(_)), "{settled:?}");
    assert!(world.effects().is_empty());

    let never = [Do::NotExecuted; 50];
    let world = World::default()
        .told("+charge", &[Do::Fail])
        .told("-hold", &never);
    let (world, settled) = run(world).await;
    assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
    assert_eq!(world.effects(), ["hold"]);
}

/// SAG-6: one id is one instance, and another input under it is refused.
#[tokio::test(start_paused = true)]
async fn one_id_is_one_instance() {
    let (world, saga, home) = (Arc::new(World::default()), trip(), memory());
    let engine = engine(&world, &saga, &home).await;
    for _ in 0..2 {
        let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
        let settled = handle.settled().await.unwrap();
        assert_eq!(settled, Settled::Done("charge of 7".to_owned()));
    }
    let other = engine
        .start(&saga, "7", Order { number: 8 })
        .await
        .unwrap_err();
    assert!(matches!(other, StartError::OtherInput { .. }), "{other}");
    assert_eq!(world.calls().len(), 5);
}

/// SAG-7: what one worker has begun, another goes on with.
#[tokio::test(start_paused = true)]
async fn another_worker_goes_on() {
    let world = Arc::new(World::default().told("+charge", &[Do::Hang]));
    let (saga, home) = (trip(), memory());
    let first = engine(&world, &saga, &home).await;
    let handle = first.start(&saga, "7", Order { number: 7 }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.calls().last().unwrap(), "+charge");
    // As after kill -9: nothing is given back.
    drop((handle, first));
    let second = engine(&world, &saga, &home).await;
    let handle = second.start(&saga, "7", Order { number: 7 }).await.unwrap();
    let settled = handle.settled().await.unwrap();
    assert_eq!(settled, Settled::Done("charge of 7".to_owned()));
    assert_eq!(world.effects(), ["car", "charge", "hold", "mail", "seat"]);
}

/// SAG-9: the attempts of a step are counted over workers, so one that is lost each time ends too.
#[tokio::test(start_paused = true)]
async fn attempts_are_bounded() {
    let saga = {
        let saga: Builder<Arc<World>, Order> = Saga::builder("one", Version(1));
        let one = saga.step("one", step).retry(Retry::attempts(2)).undo(undo);
        saga.build(one).unwrap()
    };
    let world = Arc::new(World::default().told("+one", &[Do::Hang; 9]));
    let home = memory();
    for _ in 0..2 {
        let engine = engine(&world, &saga, &home).await;
        let _handle = engine.start(&saga, "1", Order { number: 1 }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let last = engine(&world, &saga, &home).await;
    let handle = last.start(&saga, "1", Order { number: 1 }).await.unwrap();
    let settled = handle.settled().await.unwrap();
    assert!(matches!(settled, Settled::Undone(_)), "{settled:?}");
    assert_eq!(world.calls(), ["+one", "+one", "?one"]);
}

/// A step that says when to come back is not asked sooner.
#[tokio::test(start_paused = true)]
async fn a_step_says_when_to_come_back() {
    async fn busy(cx: crate::world::Context) -> Result<String, backstay_saga::StepError> {
        if cx.attempt() == 1 {
            let error = backstay_saga::StepError::unknown("still at it");
            return Err(error.again_in(Duration::from_secs(90)));
        }
        Ok("done".to_owned())
    }
    let saga: Builder<Arc<World>, Order> = Saga::builder("busy", Version(1));
    let one = saga.step("one", busy).undo(undo);
    let saga = saga.build(one).unwrap();
    let (world, home) = (Arc::new(World::default()), memory());
    let engine = engine(&world, &saga, &home).await;
    let begun = tokio::time::Instant::now();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    assert_eq!(
        handle.settled().await.unwrap(),
        Settled::Done("done".to_owned())
    );
    assert!(begun.elapsed() >= Duration::from_secs(90));
}
