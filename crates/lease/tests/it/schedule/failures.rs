//! Work that fails, and a store that does.

use std::io;
use std::sync::atomic::Ordering;

use backstay_lease::schedule::{Job, Missed};
use backstay_store::Batch;

use super::kit::{EVERY_MINUTE, MINUTE, World, pass};

/// LEA-7: an error or a panic of one job is told, stops no other, and the job is due again.
#[tokio::test(start_paused = true)]
async fn work_that_fails_stops_nothing() {
    let world = World::new();
    let fails = Job::new("fails", EVERY_MINUTE, |_| async {
        Err::<(), _>(io::Error::other("no"))
    });
    let panics = Job::new("panics", EVERY_MINUTE, |firing| async move {
        assert!(firing.key().is_empty(), "it panics");
    });
    let at_once = Job::new("at once", EVERY_MINUTE, |_| -> std::future::Ready<()> {
        panic!("before it begins")
    });
    let _process = world.process([fails, panics, at_once, world.noting("well")]);
    pass(MINUTE * 5 / 2).await;
    assert_eq!(world.ran_of("well"), [1, 2]);
    let told = world.told();
    for due in [1, 2] {
        for expected in [
            "fails failed {}: no",
            "panics panicked {}",
            "at once panicked {}",
            "well done {}",
        ] {
            let expected = expected.replace("{}", &due.to_string());
            let times = told.iter().filter(|told| **told == expected).count();
            assert_eq!(times, 1, "{expected}: {told:?}");
        }
    }
}

/// LEA-7: what can't be recorded does not run, until it can.
#[tokio::test(start_paused = true)]
async fn nothing_runs_that_is_not_recorded() {
    let world = World::new();
    let _process = world.process([world.noting("a")]);
    pass(MINUTE / 2).await;
    world.fate.down.store(true, Ordering::SeqCst);
    world.told();
    pass(MINUTE * 2).await;
    assert_eq!(world.ran_of("a"), [0_i64; 0]);
    let told = world.told();
    assert!(
        told.len() > 10 && told.iter().all(|told| told == "a stalled"),
        "{told:?}"
    );
    world.fate.down.store(false, Ordering::SeqCst);
    pass(MINUTE / 4).await;
    // The first was decided on when it was due.
    assert_eq!(world.ran_of("a"), [1, 2]);
    let told = world.told();
    assert_eq!(told, ["a started 1", "a done 1", "a started 2", "a done 2"]);
}

/// LEA-7: a firing that could not be recorded in time is not run late by a job that would rather skip it.
#[tokio::test(start_paused = true)]
async fn what_is_recorded_too_late_is_skipped() {
    let world = World::new();
    let _process = world.process([world.noting("a").missed(Missed::Skip(MINUTE / 6))]);
    pass(MINUTE / 2).await;
    world.fate.down.store(true, Ordering::SeqCst);
    pass(MINUTE).await;
    world.fate.down.store(false, Ordering::SeqCst);
    world.told();
    pass(MINUTE).await;
    assert_eq!(world.ran_of("a"), [2]);
    assert_eq!(world.told()[..2], ["a skipped 1 to 1", "a started 2"]);
}

/// LEA-7: a firing whose record is in the store, though no answer said so, is run.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_settled() {
    let world = World::new();
    let _process = world.process([world.noting("a")]);
    pass(MINUTE / 2).await;
    world.told();
    // The first try's, and that of the second, which finds it.
    world.fate.answers_lost.store(2, Ordering::SeqCst);
    pass(MINUTE).await;
    let told = world.told();
    assert_eq!(told, ["a stalled", "a stalled", "a started 1", "a done 1"]);
    pass(MINUTE).await;
    assert_eq!(world.ran_of("a"), [1, 2]);
}

/// LEA-7: what another version has kept is not guessed: the job waits, and runs when it can be read.
#[tokio::test(start_paused = true)]
async fn what_can_not_be_read_is_not_guessed() {
    let world = World::new();
    for strange in [
        "",
        "{}",
        r#"{"version":2,"cron":"* * * * *","zone":"UTC","through":0,"running":null,"token":1}"#,
    ] {
        let put = Batch::new().put("schedule/jobs/a", strange);
        world.store.commit(put).await.expect("a commit");
        let process = world.process([world.noting("a")]);
        pass(MINUTE * 2).await;
        assert_eq!(world.ran_of("a"), [0_i64; 0]);
        assert!(world.told().iter().all(|told| told == "a unreadable"));
        world.kill(process).await;
    }
    let _process = world.process([world.noting("a")]);
    let gone = Batch::new().delete("schedule/jobs/a", backstay_store::Expected::Any);
    world.store.commit(gone).await.expect("a commit");
    pass(MINUTE * 3 / 2).await;
    assert_eq!(world.ran_of("a"), [7]);
}

/// LEA-7: a cron text whose last time has passed is told once, and disturbs nobody.
#[tokio::test(start_paused = true)]
async fn a_text_can_end() {
    let world = World::new();
    let ends = Job::new("ends", "0 0 1 25 11 * 2026", |_| async {});
    let _process = world.process([ends, world.noting("a")]);
    pass(MINUTE * 123 / 2).await;
    let told: Vec<_> = world
        .told()
        .into_iter()
        .filter(|told| told.starts_with("ends"))
        .collect();
    assert_eq!(
        told,
        [
            "ends planned",
            "ends started 60",
            "ends done 60",
            "ends finished"
        ]
    );
    assert_eq!(world.ran_of("a").len(), 61);
}
