//! A clock that is set.

use backstay_lease::schedule::Missed;

use super::kit::{MINUTE, World, pass};

/// LEA-7: a clock that is set back makes no firing run again, and is told.
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_runs_nothing_again() {
    let world = World::new();
    let process = world.process([world.noting("a").missed(Missed::ALL)]);
    pass(MINUTE * 7 / 2).await;
    assert_eq!(world.ran_of("a"), [1, 2, 3]);
    world.wall.set(-180);
    world.told();
    pass(MINUTE).await;
    assert_eq!(world.told(), ["a clock behind"]);
    world.kill(process).await;
    let _process = world.process([world.noting("a").missed(Missed::ALL)]);
    pass(MINUTE).await;
    assert_eq!(world.ran_of("a"), [1, 2, 3]);
    assert_eq!(world.told(), ["a clock behind"]);
    // It is 2:30 and goes on.
    pass(2 * MINUTE).await;
    assert_eq!(world.ran_of("a"), [1, 2, 3, 4]);
}

/// LEA-7: a clock that is set forward makes firings due, which follow the policy.
#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_follows_the_policy() {
    let world = World::new();
    let all = world.noting("all").missed(Missed::All(3));
    let _process = world.process([
        all,
        world.noting("once"),
        world.noting("skip").missed(Missed::SKIP),
    ]);
    pass(MINUTE * 3 / 2).await;
    world.wall.set(3_600);
    pass(MINUTE / 4).await;
    assert_eq!(world.ran_of("all"), [1, 59, 60, 61]);
    assert_eq!(world.ran_of("once"), [1, 61]);
    assert_eq!(world.ran_of("skip"), [1, 61]);
    let told = world.told();
    assert!(
        told.contains(&"all skipped 57 to 58".to_owned()),
        "{told:?}"
    );
    assert!(
        told.contains(&"once skipped 59 to 60".to_owned()),
        "{told:?}"
    );
}

/// LEA-7: a year that nobody led is as quick as an hour: what is skipped is counted to a bound.
#[tokio::test(start_paused = true)]
async fn a_long_gap_is_bounded() {
    let world = World::new();
    let _process = world.process([world.noting("all").missed(Missed::ALL)]);
    pass(MINUTE / 2).await;
    world.told();
    world.wall.set(365 * 24 * 3_600);
    pass(MINUTE / 4).await;
    let newest = 365 * 24 * 60;
    assert_eq!(
        world.ran_of("all"),
        (newest - 99..=newest).collect::<Vec<_>>()
    );
    assert_eq!(
        world.told()[0],
        format!("all skipped 1000 to {}", newest - 100)
    );
}
