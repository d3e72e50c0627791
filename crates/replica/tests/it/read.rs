//! What a read says, and when it says nothing.

use std::sync::Arc;
use std::time::Duration;

use backstay_replica::{MaxAge, Origin, ReadError, Version};
use tokio::task::JoinSet;
use tokio::time::{advance, sleep, timeout};

use super::world::{HEARTBEAT, MS, S, World};

/// REP-1: a read gives value, version, age and source, and the age counts from before the request.
#[tokio::test(start_paused = true)]
async fn the_age_counts_from_before_the_request() {
    let world = World::new();
    world.put("a", Some(7));
    world.way(|way| way.takes = MS(300));
    let copy = world.copy().await;
    let reading = copy.peek(&"a").expect("a reading");
    assert_eq!(reading.value.as_deref(), Some(&7));
    assert_eq!(reading.version, Version::new(1, 1));
    assert_eq!(reading.source, Origin::Source);
    // As old as the way to the source and back is long.
    assert_eq!(reading.age, MS(300));
    advance(S(2)).await;
    let reading = copy.peek(&"b").expect("a reading");
    assert_eq!((reading.value, reading.age), (None, MS(2_300)));
    assert_eq!(reading.version, Version::new(1, 1));
}

/// REP-1, REP-4: with nothing to tell, a source that is well keeps the copy younger than a heartbeat and the way.
#[tokio::test(start_paused = true)]
async fn nothing_new_is_proved_too() {
    let world = World::new();
    let copy = world.copy().await;
    for _ in 0..100 {
        sleep(MS(997)).await;
        let age = copy.age().expect("a copy");
        assert!(age <= HEARTBEAT + MS(20), "{age:?}");
    }
}

/// REP-2: young enough is served without a question, too old asks and waits, and who may not wait fails.
#[tokio::test(start_paused = true)]
async fn a_read_serves_waits_or_fails() {
    let world = World::new();
    world.put("a", Some(1));
    let copy = world.copy().await;
    advance(S(3)).await;
    let asked = world.asked();
    let reading = copy.get(&"a", MaxAge::secs(4)).await.expect("young enough");
    assert_eq!((reading.age, world.asked()), (S(3) + MS(10), asked));

    let failed = copy
        .get(&"a", MaxAge::secs(1).or_fail())
        .await
        .expect_err("too old");
    let (age, limit) = (S(3) + MS(10), S(1));
    assert_eq!(failed, ReadError::Stale { age, limit });
    assert_eq!(world.asked(), asked);

    let reading = copy
        .get(&"a", MaxAge::secs(1))
        .await
        .expect("it has waited");
    assert_eq!((reading.age, world.asked()), (MS(10), asked + 1));

    // The way is longer than the read allows.
    world.way(|way| way.takes = MS(600));
    advance(S(1)).await;
    let before = world.now();
    let failed = copy.get(&"a", MaxAge::millis(500)).await;
    assert!(matches!(failed, Err(ReadError::Stale { .. })), "{failed:?}");
    assert_eq!(world.now().since(before), S(1));
}

/// REP-2: however old, `ANY` and `peek` are served without a question, also when the source is gone.
#[tokio::test(start_paused = true)]
async fn any_age_never_waits() {
    let world = World::new();
    world.put("a", Some(1));
    let copy = world.copy().await;
    world.way(|way| way.fails = true);
    sleep(S(3_600)).await;
    let before = world.now();
    let reading = copy.get(&"a", MaxAge::ANY).await.expect("a reading");
    assert_eq!(reading.value.as_deref(), Some(&1));
    assert!(reading.age > S(3_590), "{:?}", reading.age);
    assert_eq!(copy.peek(&"a").expect("a reading").age, reading.age);
    assert_eq!(world.now(), before);
}

/// REP-5: a thousand who want to know now ask one question.
#[tokio::test(start_paused = true)]
async fn who_waits_together_asks_once() {
    let world = World::new();
    world.put("a", Some(1));
    let copy = world.copy().await;
    advance(S(3)).await;
    let asked = world.asked();
    let mut reads = JoinSet::new();
    for _ in 0..1_000 {
        let copy = copy.clone();
        reads.spawn(async move { copy.get(&"a", MaxAge::secs(1)).await });
    }
    while let Some(read) = reads.join_next().await {
        read.expect("no panic").expect("a reading");
    }
    // Who came while it was asked may ask once more.
    assert!(world.asked() - asked <= 2, "{}", world.asked() - asked);
}

/// REP-2: a copy that fails closed refuses every read once it can't prove to be young enough, and serves again after.
#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_closed_refuses() {
    let world = World::new();
    world.put("a", Some(1));
    let builder = world.builder().fail_closed(S(15));
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    world.way(|way| way.is_stuck = true);
    sleep(S(14)).await;
    copy.peek(&"a").expect("young enough");
    sleep(S(2)).await;
    let stale = |read: Result<_, ReadError>| matches!(read, Err(ReadError::Stale { limit, .. }) if limit == S(15));
    assert!(stale(copy.peek(&"a").map(drop)));
    assert!(stale(copy.get(&"a", MaxAge::ANY.or_fail()).await.map(drop)));
    assert!(stale(copy.for_each(|_, _| panic!("nothing is told"))));
    assert!(stale(copy.wait_ready(Duration::ZERO).await));
    world.way(|way| way.is_stuck = false);
    let reading = copy
        .get(&"a", MaxAge::ANY.wait(S(60)))
        .await
        .expect("it is back");
    assert!(reading.age <= S(15));
}

/// REP-2: a bound that a source that is well would not hold is refused, by name.
#[tokio::test(start_paused = true)]
async fn options_are_checked() {
    let world = World::new();
    let shown = |builder: backstay_replica::ReplicaBuilder<&'static str, u32>| {
        let refused = builder.build().map(drop).expect_err("an option is wrong");
        refused.to_string()
    };
    assert_eq!(
        shown(world.builder().fail_closed(S(9))),
        "fail_closed = 9s: must be at least two heartbeats, 10s: the copy of a source that is well would be refused between two"
    );
    assert_eq!(
        shown(world.builder().heartbeat(MS(1))),
        "heartbeat = 1ms: must be in 10ms..=60s"
    );
    assert_eq!(
        shown(world.builder().max_entries(0)),
        "max_entries = 0: must be at least 1"
    );
}

/// REP-3: nothing is read before the first copy is whole; then everything is.
#[tokio::test(start_paused = true)]
async fn the_first_copy_gates_reads() {
    let world = World::new();
    world.put("a", Some(1));
    world.way(|way| way.takes = S(3));
    let copy = world.builder().build().expect("options").spawn();
    assert_eq!(copy.peek(&"a").expect_err("no copy"), ReadError::NotReady);
    assert_eq!((copy.version(), copy.age(), copy.len()), (None, None, 0));
    let waits = copy.get(&"a", MaxAge::ANY.wait(S(2))).await;
    assert_eq!(waits.expect_err("no copy yet"), ReadError::NotReady);
    copy.wait_ready(S(2)).await.expect("a copy");
    assert_eq!(
        copy.peek(&"a").expect("a reading").value.as_deref(),
        Some(&1)
    );

    world.way(|way| way.is_stuck = true);
    let other = world.builder().ready_within(S(7)).build().expect("options");
    let before = world.now();
    assert_eq!(
        other.start().await.expect_err("no copy"),
        ReadError::NotReady
    );
    assert_eq!(world.now().since(before), S(7));
}

/// REP-1: who has written reads it, once the copy holds the version of the write.
#[tokio::test(start_paused = true)]
async fn a_write_is_read_by_its_version() {
    let world = World::new();
    let copy = world.copy().await;
    let written = world.put("a", Some(1));
    let reading = copy
        .at_least(written, &"a", MaxAge::ANY)
        .await
        .expect("it waits");
    assert_eq!(reading.value.as_deref(), Some(&1));
    let wanted = written.at(written.number + 1);
    let behind = copy
        .at_least(wanted, &"a", MaxAge::ANY)
        .await
        .expect_err("not written");
    let held = written;
    assert_eq!(behind, ReadError::Behind { held, wanted });
}

/// REP-3: the copy's keys can be gone through, and are shared rather than copied.
#[tokio::test(start_paused = true)]
async fn all_keys_are_told() {
    let world = World::new();
    world.put("a", Some(1));
    world.put("b", Some(2));
    world.put("c", None);
    let copy = world.copy().await;
    let mut told = Vec::new();
    copy.for_each(|key, value| told.push((*key, value.clone())))
        .expect("a copy");
    told.sort();
    assert_eq!(
        told.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        ["a", "b"]
    );
    let read = copy
        .peek(&"a")
        .expect("a reading")
        .value
        .expect("it is there");
    assert!(Arc::ptr_eq(&read, &told[0].1));
    assert_eq!((copy.len(), copy.is_empty()), (2, false));
}

/// REP-3: what is told to stop ends soon, goes on serving, and gets older; a copy that nobody holds leaves its source alone.
#[tokio::test(start_paused = true)]
async fn it_stops() {
    let world = World::new();
    world.put("a", Some(1));
    let copy = world.copy().await;
    timeout(S(1), copy.stop()).await.expect("it stops");
    let asked = world.asked();
    sleep(S(60)).await;
    assert_eq!(world.asked(), asked);
    assert_eq!(copy.peek(&"a").expect("a reading").age, S(60) + MS(10));
    let failed = copy.get(&"a", MaxAge::secs(1)).await;
    assert!(matches!(failed, Err(ReadError::Stale { .. })));
    copy.stop().await;

    // Who waits is told at once.
    let other = world.copy().await;
    world.way(|way| way.is_stuck = true);
    sleep(S(2)).await;
    let waits = tokio::spawn({
        let other = other.clone();
        async move { other.get(&"a", MaxAge::secs(1).wait(S(60))).await }
    });
    sleep(MS(1)).await;
    other.stop().await;
    let failed = timeout(MS(1), waits).await.expect("it is woken");
    assert!(failed.expect("no panic").is_err());
    world.way(|way| way.is_stuck = false);

    let other = world.copy().await;
    drop(other);
    sleep(S(1)).await;
    let asked = world.asked();
    sleep(S(60)).await;
    assert_eq!(world.asked(), asked);
}
