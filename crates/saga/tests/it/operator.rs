use std::sync::Arc;
use std::time::Duration;

use backstay_saga::{
    ActError, Builder, By, Engine, Handle, Json, Listed, Operator, Page, Saga, Settled, Standing,
    Version,
};
use backstay_store::{Batch, Put, Store, TestClock};
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
            .signal("order", "7", "approved", &"yes", by())
            .await
            .unwrap()
    );
    assert!(
        !operator
            .signal("order", "7", "approved", &"no", by())
            .await
            .unwrap()
    );
    let settled = ground.handle.settled().await.unwrap();
    assert_eq!(settled, Settled::Done("charge of 7".to_owned()));
    let late = operator
        .signal("order", "7", "approved", &"late", by())
        .await;
    assert!(matches!(late, Err(ActError::Refused { .. })), "{late:?}");
    let unknown = operator
        .signal("order", "7", "aproved", &"x", by())
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

/// SAG-10: a signal is refused for which nothing waits any more: its time is over, its step was skipped, or all goes back.
#[tokio::test(start_paused = true)]
async fn a_signal_that_comes_too_late_is_refused() {
    let saga: Builder<Arc<World>, Order> = Saga::builder("order", Version(1));
    let paid = saga.step("charge", step).pivot();
    let within = Some(Duration::from_secs(60));
    for name in ["timely", "skipped", "late"] {
        let signal = saga.signal::<String>(name, within);
        signal.after(paid).until_done();
    }
    let saga = saga.build(paid).unwrap();
    let (store, clock) = memory();
    let engine = Engine::builder(store, Arc::new(World::default()));
    let engine = engine.run(&saga).clock(clock);
    let engine = engine.allow_volatile().start().await.unwrap();
    let handle = engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let operator = engine.operator();
    let signal = async |name: &str| {
        let told = operator.signal("order", "7", name, &"yes", by()).await;
        told.map_err(|error| error.to_string())
    };
    let output = Json::parse("\"skipped\"").unwrap();
    let skipped = operator.skip("order", "7", "skipped", Some(output), by());
    skipped.await.unwrap();
    assert_eq!(
        signal("skipped").await.unwrap_err(),
        "saga order \"7\" is running: step \"skipped\" is done"
    );
    assert_eq!(signal("timely").await, Ok(true));
    assert_eq!(signal("timely").await, Ok(false));
    let settled = handle.settled().await.unwrap();
    assert!(matches!(settled, Settled::Parked(_)), "{settled:?}");
    assert_eq!(
        signal("late").await.unwrap_err(),
        "saga order \"7\" is parked: step \"late\" waits no more"
    );
    // A person may let it wait again.
    operator.retry("order", "7", by()).await.unwrap();
    assert_eq!(signal("late").await, Ok(true));
}

/// SAG-10: a signal is refused by what goes back before anything has waited for it.
#[tokio::test(start_paused = true)]
async fn what_goes_back_takes_no_signal() {
    let ground = ground(World::default().told("+hold", &[Do::Rest]), memory()).await;
    sleep(Duration::from_secs(1)).await;
    let operator = &ground.operator;
    operator.undo("order", "7", by()).await.unwrap();
    let late = operator
        .signal("order", "7", "approved", &"yes", by())
        .await;
    assert_eq!(
        late.unwrap_err().to_string(),
        "saga order \"7\" is running: it goes back, and step \"approved\" has not begun"
    );
}

/// SAG-10: a step that is a saga says which instance it waits for, and how that stands. Abandoned, it does not take that with
/// it.
#[tokio::test(start_paused = true)]
async fn a_parent_tells_of_its_child() {
    let inner: Builder<Arc<World>, Order> = Saga::builder("inner", Version(1));
    let one = inner.step("one", step).pivot();
    let inner = inner.build(one).unwrap();
    let outer: Builder<Arc<World>, Order> = Saga::builder("outer", Version(1));
    let zero = outer.step("zero", order).nothing_to_undo();
    let child = outer.child("child", &inner).needs(zero).pivot();
    let outer = outer.build(child).unwrap();
    let (store, clock) = memory();
    let script = [Do::LoseReply, Do::Fail];
    let engine = Engine::builder(store, Arc::new(World::default().told("+one", &script)));
    let engine = engine.run(&outer).clock(clock).allow_volatile();
    let engine = engine.start().await.unwrap();
    let handle = engine.start(&outer, "7", Order { number: 7 });
    let handle = handle.await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let operator = engine.operator();
    let shown = operator.show("outer", "7").await.unwrap();
    assert_eq!(shown.standing, Standing::Running);
    assert_eq!(shown.steps[0].child, None);
    let parked = shown.steps[1].child.clone().unwrap();
    assert_eq!(
        (&*parked.saga, &*parked.id, parked.standing),
        ("inner", "outer/7/child", Standing::Parked)
    );
    let why = "nobody knows whether the pivot \"one\" has happened: refused";
    assert_eq!(parked.why.as_deref(), Some(why));

    operator.abandon("outer", "7", by()).await.unwrap();
    assert_eq!(handle.ended().await.unwrap(), Settled::Abandoned);
    let shown = operator.show("outer", "7").await.unwrap();
    assert_eq!(shown.standing, Standing::Abandoned);
    assert_eq!(shown.steps[1].child.as_ref(), Some(&parked));
    let Listed { saga, id, .. } = parked;
    operator.retry(&saga, &id, by()).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    let child = operator.show(&saga, &id).await.unwrap();
    assert_eq!(child.standing, Standing::Done);
    let shown = operator.show("outer", "7").await.unwrap();
    assert_eq!(shown.steps[1].child, None);
}

/// SAG-10: a list ends with its last page, and has what a newer version has noted.
#[tokio::test(start_paused = true)]
async fn a_list_ends_and_leaves_nothing_out() {
    let (store, _) = memory();
    let operator = Operator::new(store.clone());
    let put = async |from: usize, to: usize, note: &str| {
        for number in from..to {
            let key = format!("saga/default/active/00/order/{number:04}");
            let batch = Batch::new().put(key, Put::new(note.to_owned()));
            store.commit(batch).await.unwrap();
        }
    };
    assert_eq!(operator.active(None).await.unwrap(), Page::default());
    put(0, 999, r#"{"state":"running","since":7}"#).await;
    let page = operator.active(None).await.unwrap();
    assert_eq!((page.instances.len(), page.next), (999, None));
    put(999, 1_001, r#"{"state":"paused","since":7}"#).await;
    let page = operator.active(None).await.unwrap();
    assert_eq!(page.instances.len(), 1_000);
    let last = operator.active(page.next.as_deref()).await.unwrap();
    assert_eq!(last.next, None);
    let [newer] = &last.instances[..] else {
        panic!("{last:?}")
    };
    assert_eq!(newer.standing, Standing::Unreadable);
    assert_eq!(newer.since.as_millis(), 7);
    let why = newer.why.as_ref().unwrap();
    assert!(why.contains("another version"), "{why}");
}

/// SAG-10: what a person has abandoned is listed for as long as the engine, or the operator, remembers.
#[tokio::test(start_paused = true)]
async fn what_is_abandoned_is_remembered() {
    let (nearly, hour) = (Duration::from_secs(3_599), Duration::from_secs(3_600));
    for of_engine in [true, false] {
        let (store, clock) = memory();
        let (saga, world) = (saga(), Arc::new(World::default()));
        let engine = Engine::builder(store.clone(), world).run(&saga);
        let engine = engine.clock(clock).allow_volatile().remember(hour);
        let engine = engine.start().await.unwrap();
        engine.start(&saga, "7", Order { number: 7 }).await.unwrap();
        let operator = if of_engine {
            engine.operator()
        } else {
            Operator::new(store).remember(hour).unwrap()
        };
        operator.abandon("order", "7", by()).await.unwrap();
        sleep(nearly).await;
        let ended = operator.ended(None).await.unwrap().instances;
        assert_eq!(ended[0].standing, Standing::Abandoned);
        sleep(Duration::from_secs(2)).await;
        let ended = operator.ended(None).await.unwrap().instances;
        assert_eq!(ended, [], "{of_engine}");
    }
    let (store, _) = memory();
    let never = Operator::new(store).remember(Duration::ZERO).unwrap_err();
    assert_eq!(
        never.to_string(),
        "remember = 0ns: must be in 1s..=31622400s"
    );
}

async fn order(cx: crate::world::Context) -> Result<Order, backstay_saga::StepError> {
    Ok(cx.input().clone())
}

/// SAG-10: a parked instance goes on when a person says how, and the log says who and why.
#[tokio::test(start_paused = true)]
async fn a_parked_instance_is_decided() {
    let again = [Do::LoseReply, Do::Fail];
    for decision in ["retry", "skip", "undo", "abandon"] {
        let ground = ground(World::default().told("+charge", &again), memory()).await;
        let operator = &ground.operator;
        operator
            .signal("order", "7", "approved", &"yes", by())
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
        let signal = "signal  approved: \"yes\"  by eva: the bank called\n";
        assert!(timeline.contains(signal), "{timeline}");
        let audit = timeline.matches("  by eva: the bank called\n").count();
        assert_eq!(audit, 2, "{timeline}");
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
        "saga order \"7\" is running: step \"mail\" has not begun"
    );
    let skip = operator
        .skip("order", "7", "male", None, by())
        .await
        .unwrap_err();
    assert_eq!(refused(skip), "step = \"male\": must be a step of the saga");
    operator
        .signal("order", "7", "approved", &"yes", by())
        .await
        .unwrap();
    ground.handle.settled().await.unwrap();
    let undo = operator.undo("order", "7", by()).await.unwrap_err();
    assert_eq!(
        refused(undo),
        "saga order \"7\" is done: its pivot is done, so it only goes forward"
    );
    let abandon = operator.abandon("order", "7", by()).await.unwrap_err();
    assert_eq!(refused(abandon), "saga order \"7\" is done: it has ended");
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
        .signal("order", "7", "approved", &"yes", by())
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
        .signal("order", "8", "approved", &"yes", by())
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
