//! Leaders that die, are deposed without knowing it, or give up, at any moment, on a store behind a bad network.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backstay_lease::schedule::Missed;
use tokio::time::sleep;

use super::kit::{MINUTE, World, minutes, pass};
use backstay_lease::schedule::WallClock;

const SEEDS: u64 = 20;
const TAKE_OVERS: usize = 10;

async fn leaders_come_and_go(seed: u64) -> (usize, usize) {
    let world = World::new();
    world.fate.bad.store(true, Ordering::SeqCst);
    let jobs = || {
        ["a", "b"].map(|name| {
            let job = world.job(name, |_| {
                sleep(Duration::from_millis(fastrand::u64(..20_000)))
            });
            job.missed(Missed::ALL)
        })
    };
    let mut former = Vec::new();
    let mut leader = world.process(jobs());
    for _ in 0..TAKE_OVERS {
        pass(Duration::from_millis(fastrand::u64(..150_000))).await;
        if fastrand::bool() {
            // In the second in which a firing is recorded and begins.
            let into = world.wall.now().as_millis() % 60_000;
            let until = 60_000 - into + fastrand::u64(..1_000);
            pass(Duration::from_millis(until)).await;
        }
        let next = world.process(jobs());
        if fastrand::bool() {
            world.kill(std::mem::replace(&mut leader, next)).await;
        } else {
            // It goes on until the store refuses it, and is a candidate then.
            former.push(std::mem::replace(&mut leader, next));
            world.home.depose();
        }
    }
    pass(5 * MINUTE).await;
    let last = world.wall.now().minus(2 * MINUTE);
    let mut times = BTreeMap::new();
    for ran in world.ran() {
        *times.entry(ran).or_insert(0) += 1;
    }
    assert!(
        times.values().all(|times| *times == 1),
        "seed {seed}: {times:?}"
    );
    let told = world.told();
    let mut cut_off = 0;
    for name in ["a", "b"] {
        let first = *world.ran_of(name).first().expect("it ran");
        let last = minutes(last.minus(Duration::from_millis(last.as_millis() % 60_000)));
        for due in first..=last {
            let interrupted = told.contains(&format!("{name} interrupted {due}"));
            let ran = times.contains_key(&(name.to_owned(), due));
            assert!(
                ran || interrupted,
                "seed {seed}: {name} at {due} is lost: {told:?}"
            );
            cut_off += usize::from(!ran);
        }
    }
    (times.len(), cut_off)
}

/// LEA-7: in two hundred take-overs no firing runs twice, and none is lost without a word.
#[test]
fn no_firing_runs_twice() {
    let (mut ran, mut cut_off) = (0, 0);
    for seed in 0..SEEDS {
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let run = runtime
            .expect("a runtime")
            .block_on(leaders_come_and_go(seed));
        (ran, cut_off) = (ran + run.0, cut_off + run.1);
    }
    println!(
        "{} take-overs: {ran} firings, {cut_off} cut off before they ran",
        SEEDS * 10
    );
    assert!(
        ran > 500 && cut_off > 10,
        "{ran} ran, {cut_off} were cut off"
    );
}
