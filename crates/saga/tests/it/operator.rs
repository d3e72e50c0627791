use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{
    ActError, Builder, By, Engine, Handle, Json, Operator, Saga, Settled, Standing, Version,
};
use backstay_store::{Store, TestClock};
use tokio::time::sleep;

use crate::world::{Do, Order, World, after_one, memory, step, undo};

type Made = Saga<Arc<World>, Order, String>;

fn saga() -> Made {
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let hold = saga.step("hold", step).undo(undo);
    let approved = saga.signal::<String>("approved", Some(Duration::from_secs(3_600)));
    let approved = approved.after(hold).nothing_to_undo();
    let paid = saga.step("charge", after_one).needs(approved).pivot();
    saga.step("mail", after_one).needs(paid).until_done();
    saga.build(paid).unwrap()
}

struct Ground {
    world: Arc<World>,
    store: Store,
    engine: Engine<Arc<World>>,
    operator: Operator,
    handle: Handle<Arc<World>, String>,
}

async fn ground(world: World, home: (Store, TestClock)) -> Ground {
    let (store, clock) = home;
    let (world, saga) = (Arc::new(world), saga());
    let engine = Engine::builder(store.clone(), world.clone()).run(&saga);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    Ground {
        world,
        operator: Operator::new(store.clone()),
        store,
        engine,
        handle,
    }
}

fn by() -> By {
    By::new("eva", "the bank called").unwrap()
}

/// SAG-9: a signal is waited for, whoever sends it; the first counts.
#[tokio::test(start_paused = true)]
async fn a_signal_is_waited_for() {
    let ground = ground(World::default(), memory()).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(ground.world.calls(), ["+hold"]);
    let operator = &ground.operator;
    assert!(
        operator
            .signal("order", "7", "approved", &"yes")
            .await
            .unwrap()
    );
    assert!(
        !operator
            .signal("order", "7", "approved", &"no")
            .await
            .unwrap()
    );
    let settled = ground.handle.settled().await.unwrap();
    assert_eq!(settled, Settled::Done("charge of 7".to_owned()));
    let late = operator.signal("order", "7", "approved", &"late").await;
    assert!(matches!(late, Err(ActError::Refused { .. })), "{late:?}");
    let unknown = operator
        .signal("order", "7", "aproved", &"x")
        .await
        .unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "signal = \"aproved\": must be a signal that the saga waits for"
    );
}

/// SAG-9: a signal that does not come in time turns the saga back.
#[tokio::test(start_paused = true)]
async fn a_signal_that_does_not_come() {
    let ground = ground(World::default(), memory()).await;
    let settled = ground.handle.settled().await.unwrap();
    assert!(matches!(settled, Settled::Undone(_)), "{settled:?}");
    assert_eq!(ground.world.calls(), ["+hold", "-hold"]);
}

/// SAG-10: a parked instance goes on when a person says how, and the log says who and why.
#[tokio::test(start_paused = true)]
async fn a_parked_instance_is_decided() {
    let again = [Do::LoseReply, Do::Fail];
    for decision in ["retry", "skip", "undo", "abandon"] {
        let ground = ground(World::default().told("+charge", &again), memory()).await;
        let operator = &ground.operator;
        operator
            .signal("order", "7", "approved", &"yes")
            .await
            .unwrap();
        let settled = ground.handle.settled().await.unwrap();
        assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
        let listed = operator.active(None).await.unwrap().instances;
        assert_eq!(listed[0].standing, Standing::Parked);
        let why = "nobody knows whether the pivot \"charge\" has happened: refused";
        assert_eq!(listed[0].why.as_deref(), Some(why));

        let (expected, effects) = match decision {
            "retry" => {
                operator.retry("order", "7", by()).await.unwrap();
                (
                    Settled::Done("charge of 7".to_owned()),
                    vec!["charge", "hold", "mail"],
                )
            }
            "skip" => {
                let output = Json::parse("\"seen\"").unwrap();
                operator
                    .skip("order", "7", "charge", Some(output), by())
                    .await
                    .unwrap();
                (
                    Settled::Done("seen".to_owned()),
                    vec!["charge", "hold", "mail"],
                )
            }
            "undo" => {
                operator.undo("order", "7", by()).await.unwrap();
                let settled = over(&ground).await;
                assert!(matches!(settled, Settled::Undone(_)), "{settled:?}");
                // The person said that it has not happened.
                (settled, vec!["charge"])
            }
            _ => {
                operator.abandon("order", "7", by()).await.unwrap();
                (Settled::Abandoned, vec!["charge", "hold"])
            }
        };
        assert_eq!(over(&ground).await, expected, "{decision}");
        assert_eq!(ground.world.effects(), effects, "{decision}");
        let shown = operator.show("order", "7").await.unwrap();
        let timeline = shown.timeline();
        assert!(timeline.contains(decision), "{timeline}");
        assert!(timeline.contains("by eva: the bank called"), "{timeline}");
        assert!(operator.active(None).await.unwrap().instances.is_empty());
        assert_eq!(operator.ended(None).await.unwrap().instances.len(), 1);
        drop(ground.engine);
        drop(ground.store);
    }
}

/// What it has come to once it is no longer parked.
async fn over(ground: &Ground) -> Settled<String> {
    ground.handle.ended().await.unwrap()
}

/// SAG-10: what can't be as the instance stands is refused, and says why.
#[tokio::test(start_paused = true)]
async fn what_can_not_be_is_refused() {
    let ground = ground(World::default(), memory()).await;
    let operator = &ground.operator;
    let refused = |error: ActError| error.to_string();
    let nobody = operator.retry("order", "8", by()).await.unwrap_err();
    assert_eq!(refused(nobody), "saga order has no instance \"8\"");
    let skip = operator
        .skip("order", "7", "mail", None, by())
        .await
        .unwrap_err();
    assert_eq!(
        refused(skip),
        "saga order \"7\" is Running: step \"mail\" has not begun"
    );
    let skip = operator
        .skip("order", "7", "male", None, by())
        .await
        .unwrap_err();
    assert_eq!(refused(skip), "step = \"male\": must be a step of the saga");
    operator
        .signal("order", "7", "approved", &"yes")
        .await
        .unwrap();
    ground.handle.settled().await.unwrap();
    let undo = operator.undo("order", "7", by()).await.unwrap_err();
    assert_eq!(
        refused(undo),
        "saga order \"7\" is Done: its pivot is done, so it only goes forward"
    );
    let abandon = operator.abandon("order", "7", by()).await.unwrap_err();
    assert_eq!(refused(abandon), "saga order \"7\" is Done: it has ended");
    assert_eq!(
        By::new("", "why").unwrap_err().to_string(),
        "who = \"\": must have 1 to 1000 bytes"
    );
}

/// SAG-10: what is under way can be undone before its pivot.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_undone() {
    let ground = ground(World::default(), memory()).await;
    sleep(Duration::from_secs(1)).await;
    ground.operator.undo("order", "7", by()).await.unwrap();
    let settled = ground.handle.settled().await.unwrap();
    assert!(matches!(settled, Settled::Undone(_)), "{settled:?}");
    assert_eq!(ground.world.calls(), ["+hold", "-hold"]);
}

/// SAG-7, SAG-10: an instance whose log can't be is listed, stops nobody else, and can be abandoned.
#[tokio::test(start_paused = true)]
async fn a_log_that_can_not_be() {
    let ground = ground(World::default(), memory()).await;
    sleep(Duration::from_secs(1)).await;
    let wrong = r#"{"at":1,"entries":[{"undone":{"step":0}}]}"#;
    let wrong = backstay_store::Event::new("saga", wrong);
    let listed = ground.operator.active(None).await.unwrap().instances;
    assert_eq!(listed.len(), 1);
    let batch = backstay_store::Batch::new().append("saga/default/order/7", wrong);
    ground.store.commit(batch).await.unwrap();
    // It is seen when somebody looks.
    let _ = ground
        .operator
        .signal("order", "7", "approved", &"yes")
        .await;
    sleep(Duration::from_secs(120)).await;
    let listed = ground.operator.active(None).await.unwrap().instances;
    assert_eq!(listed[0].standing, Standing::Unreadable);
    let other = ground
        .engine
        .start(&saga(), "8", Order { number: 8 })
        .await
        .unwrap();
    ground
        .operator
        .signal("order", "8", "approved", &"yes")
        .await
        .unwrap();
    assert!(matches!(other.settled().await.unwrap(), Settled::Done(_)));
    ground.operator.abandon("order", "7", by()).await.unwrap();
    assert!(
        ground
            .operator
            .active(None)
            .await
            .unwrap()
            .instances
            .is_empty()
    );
}

/// SAG-10: a saga within another, after its pivot, that was undone is tried again as another one.
#[tokio::test(start_paused = true)]
async fn a_saga_within_is_tried_again() {
    let (store, clock) = memory();
    let world = Arc::new(World::default().told("+pack", &[Do::Fail; 2]));
    let parcel: Builder<Arc<World>, String> = Saga::builder("parcel", Version(1));
    let pack = parcel.step("pack", step).undo(undo);
    let parcel = parcel.build(pack).unwrap();
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let paid = saga.step("charge", step).pivot();
    let sent = saga.child("send", &parcel).needs(paid).until_done();
    let saga = saga.build(sent).unwrap();
    let engine = Engine::builder(store, world.clone()).run(&saga);
    let engine = engine.clock(clock).allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    let operator = engine.operator();
    for _ in 0..2 {
        let settled = handle.settled().await.unwrap();
        assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
        operator.retry("order", "7", by()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    let settled = handle.ended().await.unwrap();
    assert_eq!(settled, Settled::Done("pack of 0".to_owned()));
    assert_eq!(world.effects(), ["charge", "pack"]);
    for id in ["order/7/send", "order/7/send+1"] {
        let standing = operator.show("parcel", id).await.unwrap().standing;
        assert_eq!(standing, Standing::Undone);
    }
}
