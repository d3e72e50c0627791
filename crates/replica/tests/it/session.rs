//! When a copy begins anew, and when a source is dead.

use backstay_replica::{
    Backoff, Broken, Change, Clock, Ended, Event, MaxAge, News, Replica, Session, Source, Start,
    Version,
};
use futures_util::StreamExt;
use futures_util::stream::{iter, pending, unfold};
use tokio::time::sleep;

use super::world::{HEARTBEAT, Heard, MS, S, World};

/// REP-3: changes are seen as they come, a delete too, and none begins the copy anew.
#[tokio::test(start_paused = true)]
async fn changes_follow_the_snapshot() {
    let (world, heard) = (World::new(), Heard::default());
    world.put("a", Some(1));
    let builder = world.builder().on_event(heard.hear());
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    for value in [Some(2), None, Some(3)] {
        let version = world.put("a", value);
        sleep(MS(20)).await;
        let reading = copy.peek(&"a").expect("a reading");
        assert_eq!(reading.value.as_deref().copied(), value);
        assert_eq!(reading.version, version);
    }
    assert_eq!((heard.synced().len(), world.opened()), (1, 1));
}

/// REP-3: a source that does not know any more what has changed is read anew, and nobody notices but for an event.
#[tokio::test(start_paused = true)]
async fn what_is_forgotten_leads_to_a_new_snapshot() {
    let (world, heard) = (World::new(), Heard::default());
    world.put("a", Some(1));
    let builder = world.builder().on_event(heard.hear());
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    world.way(|way| way.fails = true);
    sleep(S(20)).await;
    world.put("a", None);
    world.put("b", Some(2));
    world.forget();
    world.way(|way| way.fails = false);
    sleep(S(60)).await;
    assert_eq!(copy.peek(&"a").expect("a reading").value, None);
    assert_eq!(
        copy.peek(&"b").expect("a reading").value.as_deref(),
        Some(&2)
    );
    assert_eq!(heard.synced(), [Version::new(1, 1), Version::new(1, 3)]);
}

/// REP-3: a source that was restored from a backup begins another history, which replaces the later one.
#[tokio::test(start_paused = true)]
async fn another_epoch_leads_to_a_new_snapshot() {
    let (world, heard) = (World::new(), Heard::default());
    world.put("a", Some(1));
    let restore = world.back_up();
    world.put("a", Some(2));
    let builder = world.builder().on_event(heard.hear());
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    restore(&world);
    sleep(S(60)).await;
    let reading = copy.peek(&"a").expect("a reading");
    assert_eq!(reading.value.as_deref(), Some(&1));
    assert_eq!(reading.version, Version::new(2, 1));
    let (from, to) = (Version::new(1, 2), Version::new(2, 1));
    let changed = |event: &Event| matches!(event, Event::EpochChanged { from: f, to: t } if (*f, *t) == (from, to));
    assert!(heard.all().iter().any(changed));
}

/// REP-3: a server that is late, or went back without saying so, does not replace what is newer, and proves nothing.
#[tokio::test(start_paused = true)]
async fn an_older_snapshot_replaces_nothing() {
    let (world, heard) = (World::new(), Heard::default());
    world.set(Version::new(1, 10), "a", Some(10));
    let builder = world.builder().on_event(heard.hear());
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    world.way(|way| way.fails = true);
    sleep(S(10)).await;
    world.set(Version::new(1, 4), "a", Some(4));
    world.way(|way| way.fails = false);
    sleep(S(120)).await;
    let reading = copy.peek(&"a").expect("a reading");
    assert_eq!(reading.value.as_deref(), Some(&10));
    assert!(reading.age > S(120), "{:?}", reading.age);
    let (offered, held) = (Version::new(1, 4), Version::new(1, 10));
    let refused = |end: &Ended| matches!(end, Ended::Broken(Broken::Older { offered: o, held: h }) if (*o, *h) == (offered, held));
    assert!(heard.ends().iter().any(refused), "{:?}", heard.ends());
}

/// REP-4: a source that says nothing is given up after two and a half heartbeats, and its silence is not freshness.
#[tokio::test(start_paused = true)]
async fn silence_is_not_freshness() {
    let (world, heard) = (World::new(), Heard::default());
    world.put("a", Some(1));
    let builder = world.builder().on_event(heard.hear());
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    world.way(|way| way.is_stuck = true);
    sleep(MS(12_480)).await;
    assert!(heard.ends().is_empty());
    sleep(MS(40)).await;
    assert!(
        matches!(heard.ends()[..], [Ended::Silent { quiet }] if quiet == HEARTBEAT.mul_f64(2.5))
    );
    sleep(S(600)).await;
    assert_eq!(copy.age(), Some(HEARTBEAT.mul_f64(2.5) + S(600) + MS(30)));
    world.way(|way| way.is_stuck = false);
    sleep(S(60)).await;
    assert!(copy.age().expect("a copy") <= HEARTBEAT + MS(20));
}

/// Brings a change every second, and answers no question after the first.
struct Pushes(Clock);

impl Source<&'static str, u64> for Pushes {
    fn name(&self) -> String {
        "pushes".to_owned()
    }

    fn open(&self, _: Start) -> Session<&'static str, u64> {
        let at = |number| Version::new(1, number);
        let asked = self.0.now();
        let version = at(asked.as_nanos());
        let snapshot = [News::Snapshot(version), News::Complete { version, asked }];
        let changes = unfold(version, |after| async move {
            sleep(S(1)).await;
            let upto = after.at(after.number + 1);
            let change = Change {
                key: "a",
                number: upto.number,
                value: Some(upto.number),
            };
            let news = News::Changes {
                after,
                upto,
                changes: vec![change],
                asked: None,
            };
            Some((Ok(news), upto))
        });
        iter(snapshot.map(Ok)).chain(changes).boxed()
    }
}

/// REP-4: a connection that still brings changes and carries no question is dead too.
#[tokio::test(start_paused = true)]
async fn changes_that_come_unasked_keep_nothing_alive() {
    let (clock, heard) = (Clock::tokio(), Heard::default());
    let builder = Replica::builder(Pushes(clock.clone()))
        .clock(clock)
        .heartbeat(HEARTBEAT);
    let built = builder.on_event(heard.hear()).build().expect("options");
    let copy = built.start().await.expect("a copy");
    sleep(MS(12_400)).await;
    assert!(heard.ends().is_empty());
    assert_eq!(copy.age(), Some(MS(12_400)));
    sleep(MS(200)).await;
    assert!(
        matches!(heard.ends()[..], [Ended::Silent { .. }]),
        "{:?}",
        heard.ends()
    );
}

/// REP-5: a source that is away is asked again after a wait that grows, is spread, and has a cap.
#[tokio::test(start_paused = true)]
async fn sessions_back_off() {
    let (world, heard) = (World::new(), Heard::default());
    world.way(|way| way.fails = true);
    let builder = world.builder().on_event(heard.hear());
    let backoff = Backoff::decorrelated(MS(250)).cap(S(30));
    let copy = builder.backoff(backoff).build().expect("options").spawn();
    sleep(S(3_600)).await;
    let waits = heard.all().into_iter().filter_map(|event| match event {
        Event::SessionEnded { retry_in, .. } => Some(retry_in),
        _ => None,
    });
    let waits: Vec<_> = waits.collect();
    assert!(
        waits.iter().all(|wait| (MS(250)..=S(30)).contains(wait)),
        "{waits:?}"
    );
    assert!(waits[0] <= MS(750), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait > S(10)), "{waits:?}");
    // At 250 ms it would be 13,846.
    assert!(world.opened() < 1_500, "{}", world.opened());
    drop(copy);
}

/// REP-5: who waits for a young copy does not make a source that fails be asked without end.
#[tokio::test(start_paused = true)]
async fn who_waits_does_not_hammer() {
    let world = World::new();
    world.put("a", Some(1));
    let copy = world.copy().await;
    world.way(|way| way.fails = true);
    sleep(S(60)).await;
    let asked = world.asked();
    let max_age = MaxAge::secs(1).wait(S(60));
    assert!(copy.get(&"a", max_age).await.is_err());
    assert!(world.asked() - asked <= 60, "{}", world.asked() - asked);
}

/// REP-3: more keys than the copy may have end the session; what was there stays, and gets older.
#[tokio::test(start_paused = true)]
async fn a_copy_is_bounded() {
    let (world, heard) = (World::new(), Heard::default());
    world.put("a", Some(1));
    world.put("b", Some(2));
    let builder = world.builder().on_event(heard.hear()).max_entries(2);
    let copy = builder
        .build()
        .expect("options")
        .start()
        .await
        .expect("a copy");
    world.put("b", Some(3));
    sleep(MS(20)).await;
    assert_eq!(
        copy.peek(&"b").expect("a reading").value.as_deref(),
        Some(&3)
    );
    world.put("c", Some(4));
    sleep(S(60)).await;
    assert_eq!(copy.len(), 2);
    assert!(copy.age().expect("a copy") >= S(59));
    let is_bound = |end: &Ended| matches!(end, Ended::Broken(Broken::TooMany { limit: 2 }));
    assert!(heard.ends().iter().all(is_bound), "{:?}", heard.ends());
    world.put("a", None);
    sleep(S(60)).await;
    assert_eq!(
        copy.peek(&"c").expect("a reading").value.as_deref(),
        Some(&4)
    );
}

/// REP-3: changes of which some were too many are not held: what came behind them is in the copy after the next snapshot, also when
/// sessions fail in between.
#[tokio::test(start_paused = true)]
async fn what_was_half_taken_is_read_anew() {
    let world = World::new();
    world.put("a", Some(1));
    world.put("b", Some(2));
    let builder = world.builder().max_entries(2);
    let built = builder.build().expect("options");
    let copy = built.start().await.expect("a copy");
    world.put("c", Some(3));
    world.put("b", Some(9));
    sleep(MS(20)).await;
    world.way(|way| way.fails = true);
    sleep(S(20)).await;
    world.put("c", None);
    world.way(|way| way.fails = false);
    sleep(S(60)).await;
    let reading = copy.peek(&"b").expect("a reading");
    assert_eq!(reading.value.as_deref(), Some(&9));
    assert!(reading.age <= HEARTBEAT + MS(20), "{:?}", reading.age);
}

/// Tells what it is given, one a second, and again in each session.
struct Tells(Vec<News<&'static str, u64>>);

impl Source<&'static str, u64> for Tells {
    fn name(&self) -> String {
        "tells".to_owned()
    }

    fn open(&self, _: Start) -> Session<&'static str, u64> {
        let all = iter(self.0.clone()).then(|news| async {
            sleep(S(1)).await;
            Ok(news)
        });
        all.chain(pending()).boxed()
    }
}

fn told(clock: Clock, all: Vec<News<&'static str, u64>>) -> (Replica<&'static str, u64>, Heard) {
    let heard = Heard::default();
    let builder = Replica::builder(Tells(all)).heartbeat(HEARTBEAT);
    let built = builder.clock(clock).on_event(heard.hear()).build();
    (built.expect("options").spawn(), heard)
}

/// REP-1: no proof is from the future, of a snapshot as little as of changes.
#[tokio::test(start_paused = true)]
async fn no_proof_is_from_the_future() {
    let clock = Clock::tokio();
    let (version, asked) = (Version::new(1, 1), clock.now().plus(S(100)));
    let snapshot = News::Snapshot(version);
    let (copy, heard) = told(clock, vec![snapshot, News::Complete { version, asked }]);
    sleep(S(4)).await;
    assert_eq!(copy.version(), None);
    let said = heard.ends().first().map(ToString::to_string);
    assert_eq!(said.as_deref(), Some("a proof from the future"));
}

/// REP-4: a source that answers questions is alive while the copy catches up, and proves nothing by that.
#[tokio::test(start_paused = true)]
async fn who_catches_up_is_alive() {
    let clock = Clock::tokio();
    let (version, asked) = (Version::new(1, 0), clock.now());
    let mut all = vec![News::Snapshot(version), News::Complete { version, asked }];
    all.extend((0..30).map(|number| News::More {
        after: version.at(number),
        upto: version.at(number + 1),
        changes: Vec::new(),
    }));
    let (copy, heard) = told(clock, all);
    sleep(MS(32_100)).await;
    assert!(heard.ends().is_empty(), "{:?}", heard.ends());
    assert_eq!(copy.version(), Some(version.at(30)));
    assert_eq!(copy.age(), Some(MS(32_100)));
}

/// REP-5: who asks for less than the way to the source takes has it asked with pauses.
#[tokio::test(start_paused = true)]
async fn who_is_never_content_asks_with_pauses() {
    let world = World::new();
    world.way(|way| way.takes = MS(2));
    let copy = world.copy().await;
    let asked = world.asked();
    sleep(MS(20)).await;
    assert!(copy.get(&"a", MaxAge::millis(1)).await.is_err());
    assert!(world.asked() - asked <= 102, "{}", world.asked() - asked);
}

/// REP-2, REP-5: a reader who waits ends the wait after a failure, and not before a second is over.
#[tokio::test(start_paused = true)]
async fn who_waits_has_a_source_that_is_back_asked() {
    let world = World::new();
    let backoff = Backoff::decorrelated(S(60)).cap(S(60));
    let built = world.builder().backoff(backoff).build();
    let copy = built.expect("options").start().await.expect("a copy");
    world.way(|way| way.fails = true);
    sleep(HEARTBEAT + MS(20)).await;
    let asked = world.asked();
    for _ in 0..50 {
        let read = copy.get(&"a", MaxAge::secs(1).wait(MS(100))).await;
        assert!(read.is_err(), "{read:?}");
    }
    assert!((4..=6).contains(&(world.asked() - asked)));
    world.way(|way| way.fails = false);
    let read = copy.get(&"a", MaxAge::secs(1).wait(S(2))).await;
    assert!(read.is_ok(), "{read:?}");
}
