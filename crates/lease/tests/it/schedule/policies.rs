//! What becomes of firings whose time has passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backstay_lease::schedule::{Job, Missed};
use tokio::time::sleep;

use super::kit::{MIDNIGHT, MINUTE, World, pass};

/// LEA-7: a job runs once at each time it is due, beginning with the first after it was seen.
#[tokio::test(start_paused = true)]
async fn a_job_runs_when_it_is_due() {
    let world = World::new();
    pass(MINUTE / 2).await;
    let _process = world.process([world.noting("a")]);
    pass(3 * MINUTE).await;
    assert_eq!(world.ran_of("a"), [1, 2, 3]);
    let told = [
        "a planned",
        "a started 1",
        "a done 1",
        "a started 2",
        "a done 2",
        "a started 3",
        "a done 3",
    ];
    assert_eq!(world.told(), told);
}

/// Leads for 2.5 minutes, nobody leads for 10, and somebody leads again for a half.
async fn after_a_gap(missed: Missed) -> (Vec<i64>, Vec<String>) {
    let world = World::new();
    let job = || world.noting("a").missed(missed);
    let process = world.process([job()]);
    pass(MINUTE * 5 / 2).await;
    world.kill(process).await;
    world.told();
    pass(10 * MINUTE).await;
    let _process = world.process([job()]);
    pass(MINUTE / 2).await;
    (world.ran_of("a"), world.told())
}

/// LEA-7: of firings that nobody ran while nobody led, none runs, or the newest, or all, or a bounded number, as was asked for; those
/// that don't are told.
#[tokio::test(start_paused = true)]
async fn missed_firings_follow_the_policy() {
    let (ran, told) = after_a_gap(Missed::Skip(Duration::from_secs(20))).await;
    assert_eq!(
        (ran, told),
        (vec![1, 2], vec!["a skipped 10 to 12".to_owned()])
    );

    // The newest was due half a minute ago.
    let (ran, told) = after_a_gap(Missed::SKIP).await;
    assert_eq!(ran, [1, 2, 12]);
    assert_eq!(told, ["a skipped 9 to 11", "a started 12", "a done 12"]);

    let (ran, told) = after_a_gap(Missed::Once).await;
    assert_eq!(ran, [1, 2, 12]);
    assert_eq!(told, ["a skipped 9 to 11", "a started 12", "a done 12"]);

    let (ran, told) = after_a_gap(Missed::ALL).await;
    assert_eq!(ran, (1..=12).collect::<Vec<_>>());
    assert!(
        !told.iter().any(|told| told.contains("skipped")),
        "{told:?}"
    );

    let (ran, told) = after_a_gap(Missed::All(4)).await;
    assert_eq!(ran, [1, 2, 9, 10, 11, 12]);
    assert_eq!(told[0], "a skipped 6 to 8");
}

/// LEA-7: a job waits for its own last firing, and what was due meanwhile follows the policy; other jobs don't wait.
#[tokio::test(start_paused = true)]
async fn long_work_holds_up_its_own_job_only() {
    for (missed, ran) in [
        (Missed::Once, vec![1, 4, 8]),
        (Missed::ALL, vec![1, 2, 3]),
        (Missed::Skip(Duration::from_secs(5)), vec![1, 5]),
    ] {
        let world = World::new();
        let at_once = Arc::new(AtomicU32::new(0));
        let slow = world.job("slow", move |_| {
            let at_once = at_once.clone();
            async move {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                sleep(MINUTE * 7 / 2).await;
                at_once.fetch_sub(1, Ordering::SeqCst);
            }
        });
        let _process = world.process([slow.missed(missed), world.noting("quick")]);
        pass(MINUTE * 17 / 2).await;
        assert_eq!(world.ran_of("slow"), ran, "{missed:?}");
        assert_eq!(
            world.ran_of("quick"),
            (1..=8).collect::<Vec<_>>(),
            "{missed:?}"
        );
    }
}

/// LEA-7: another cron text or zone is another plan: what the old one has missed does not run, and it begins now.
#[tokio::test(start_paused = true)]
async fn another_text_begins_now() {
    let world = World::new();
    let process = world.process([world.noting("a").missed(Missed::ALL)]);
    pass(MINUTE * 3 / 2).await;
    world.kill(process).await;
    pass(10 * MINUTE).await;
    let other = Job::new("a", "*/2 * * * *", |firing| async move {
        assert_eq!(firing.due, MIDNIGHT, "it is due");
    });
    let process = world.process([other.missed(Missed::ALL)]);
    world.told();
    pass(MINUTE * 2).await;
    assert_eq!(world.told(), ["a planned", "a started 12", "a panicked 12"]);
    world.kill(process).await;
}
