//! One leader after the other.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use backstay_lease::StepDown;
use backstay_lease::schedule::Job;
use backstay_store::{Batch, Fence};
use tokio::time::sleep;

use super::kit::{EVERY_MINUTE, MINUTE, World, pass};
use super::net::Home;

/// LEA-7: of two processes one runs the jobs, then the other, and no firing is lost or run twice.
#[tokio::test(start_paused = true)]
async fn two_leaders_in_turn() {
    let world = World::new();
    let one = world.process([world.noting("a")]);
    let _other = world.process([world.noting("a")]);
    pass(MINUTE * 5 / 2).await;
    world.kill(one).await;
    pass(2 * MINUTE).await;
    assert_eq!(world.ran_of("a"), [1, 2, 3, 4]);
    assert_eq!(world.home.highest(), 2);
}

/// LEA-7: a leader that dies after a firing is recorded and before it runs: no other runs it.
#[tokio::test(start_paused = true)]
async fn a_firing_that_is_recorded_is_run_by_nobody_else() {
    let world = World::new();
    let one = world.process([world.noting("a")]);
    pass(MINUTE / 2).await;
    world.fate.silent.store(true, Ordering::SeqCst);
    pass(MINUTE).await;
    world.kill(one).await;
    world.fate.silent.store(false, Ordering::SeqCst);
    world.told();
    let _other = world.process([world.noting("a")]);
    pass(MINUTE).await;
    assert_eq!(world.ran_of("a"), [2]);
    assert_eq!(world.told(), ["a interrupted 1", "a started 2", "a done 2"]);
}

/// LEA-7: work that was cut off is told, and run again only by a job that asks for it, under the same key.
#[tokio::test(start_paused = true)]
async fn work_that_was_cut_off_runs_again_if_asked() {
    for again in [false, true] {
        let world = World::new();
        let keys = Arc::new(Mutex::new(Vec::new()));
        let job = || {
            let keys = keys.clone();
            let job = world.job("a", move |firing| {
                keys.lock()
                    .expect("nobody panics")
                    .push((firing.key(), firing.again));
                sleep(MINUTE / 4)
            });
            if again { job.repeat_interrupted() } else { job }
        };
        let one = world.process([job()]);
        pass(MINUTE * 9 / 8).await;
        world.kill(one).await;
        world.told();
        let two = world.process([job()]);
        pass(MINUTE / 8).await;
        world.kill(two).await;
        let _three = world.process([job()]);
        pass(MINUTE / 2).await;
        let told = world.told();
        if again {
            assert_eq!(world.ran_of("a"), [1, 1, 1]);
            let key = "jobs/a/1795564860000".to_owned();
            let said = [(key.clone(), false), (key.clone(), true), (key, true)];
            assert_eq!(*keys.lock().expect("nobody panics"), said);
            assert_eq!(
                told,
                [
                    "a interrupted 1",
                    "a started 1",
                    "a interrupted 1",
                    "a started 1",
                    "a done 1"
                ]
            );
        } else {
            assert_eq!(world.ran_of("a"), [1]);
            assert_eq!(told, ["a interrupted 1"]);
        }
    }
}

/// LEA-7: a leader that does not know that another leads is refused when it records, does not run the work, and asks
/// for the lease again.
#[tokio::test(start_paused = true)]
async fn a_fenced_leader_runs_nothing() {
    let world = World::new();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let election = backstay_lease::Election::builder(world.home.clone(), "leader")
        .clock(backstay_lease::TokioClock::new())
        .on_event(move |event| heard.lock().expect("nobody panics").push(event.clone()))
        .build()
        .expect("good options");
    let schedule = world.schedule([world.noting("a")]);
    let _process = tokio::spawn(async move { election.run(|leads| schedule.run(leads)).await });
    pass(MINUTE * 3 / 2).await;
    // Another leads, as only the store knows.
    let leader = Batch::new().fenced(Fence::new("claim:lease/leader", 2));
    world.store.commit(leader).await.expect("it is the highest");
    world.home.depose();
    pass(MINUTE / 2 + MINUTE / 60).await;
    let fenced = backstay_lease::Event::SteppedDown {
        token: 1,
        reason: StepDown::Lost,
    };
    assert!(events.lock().expect("nobody panics").contains(&fenced));
    pass(MINUTE / 4).await;
    assert_eq!(world.home.highest(), 2, "it leads again");
    assert_eq!(world.ran_of("a"), [1, 2]);
    let told = world.told();
    assert_eq!(
        told,
        [
            "a planned",
            "a started 1",
            "a done 1",
            "a started 2",
            "a done 2"
        ]
    );
}

/// LEA-7: a former leader that does not know it runs nothing that its successor has not left to it.
#[tokio::test(start_paused = true)]
async fn a_former_leader_runs_nothing() {
    let world = World::new();
    let by = Arc::new(Mutex::new(Vec::new()));
    let job = |who: u32| {
        let by = by.clone();
        world.job("a", move |_| {
            by.lock().expect("nobody panics").push(who);
            std::future::ready(())
        })
    };
    let _one = world.process([job(1)]);
    pass(MINUTE * 3 / 2).await;
    world.home.depose();
    let _two = world.process([job(2)]);
    pass(MINUTE * 3).await;
    assert_eq!(*by.lock().expect("nobody panics"), [1, 2, 2, 2]);
    assert_eq!(world.ran_of("a"), [1, 2, 3, 4]);
}

/// LEA-7: two elections that were given one schedule by mistake have different fences, and still run no firing twice.
#[tokio::test(start_paused = true)]
async fn two_leaders_of_two_elections_run_nothing_twice() {
    let world = World::new();
    let elections = ["one", "another"].map(|name| World::election_of(&Home::default(), name));
    let _both = elections.map(|election| world.process_of(election, [world.noting("a")]));
    pass(MINUTE * 13 / 2).await;
    assert_eq!(world.ran_of("a"), [1, 2, 3, 4, 5, 6]);
}

/// LEA-3: the work of a job is dropped when its leader leads no more.
#[tokio::test(start_paused = true)]
async fn work_is_dropped_with_its_term() {
    struct Dropped(Arc<Mutex<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            *self.0.lock().expect("nobody panics") = true;
        }
    }
    let world = World::new();
    let dropped = Arc::new(Mutex::new(false));
    let tells = dropped.clone();
    let job = Job::new("a", EVERY_MINUTE, move |_| {
        let dropped = Dropped(tells.clone());
        async move {
            std::future::pending::<()>().await;
            drop(dropped);
        }
    });
    let (schedule, election) = (world.schedule([job]), world.election());
    let leads = election.campaign().await.expect("it leads");
    let running = tokio::spawn(async move { schedule.run(leads).await });
    pass(MINUTE * 3 / 2).await;
    assert!(!*dropped.lock().expect("nobody panics"));
    election.resign().await;
    assert!(*dropped.lock().expect("nobody panics"));
    assert_eq!(running.await.expect("no panic").reason, StepDown::Resigned);
}
