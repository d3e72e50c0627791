use std::sync::Mutex;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{join, join3};
use tokio::select;
use tokio::time::sleep;

use super::{Copy, HEARTBEAT, Subject, Way};
use crate::history::{History, Read};
use crate::{Clock, MaxAge};

const KEYS: [&str; 3] = ["a", "b", "c"];
const WRITES: u32 = 120;
const CUTS: u32 = 5;

/// REP-1, REP-3, REP-4: while keys are written and the way is cut and healed, every age is true, and no reader goes back.
pub async fn every_age_is_true(subject: &dyn Subject) {
    let history = Mutex::new(History::new());
    for key in KEYS {
        write(subject, &history, key, Some(0)).await;
    }
    let copy = Copy::of(subject).await;
    let changes = join(writes(subject, &history), cuts(subject));
    let reads = join3(
        reads(&copy, &history, 0),
        reads(&copy, &history, 1),
        asks(&copy),
    );
    let last = select! {
        biased;
        (last, ()) = changes => last,
        _ = reads => unreachable!("they read on"),
    };
    copy.holds(last).await;
    let history = history.lock().expect("nobody panics");
    assert!(history.reads() > 100, "{}", history.reads());
    assert_eq!(history.check(), []);
}

type Checked = Mutex<History<&'static str, u32>>;

async fn write(
    subject: &dyn Subject,
    history: &Checked,
    key: &'static str,
    value: Option<u32>,
) -> u64 {
    let clock = Clock::machine();
    let began = clock.now();
    let number = subject.put(key, value).await;
    let done = clock.now();
    let mut history = history.lock().expect("nobody panics");
    history.becomes(key, value, began, done);
    number
}

/// All by one, so that of a key one follows the other.
async fn writes(subject: &dyn Subject, history: &Checked) -> u64 {
    let mut random = Rng::new();
    let mut last = 0;
    for value in 1..=WRITES {
        let value = (random.u32(..4) > 0).then_some(value);
        last = write(subject, history, KEYS[random.usize(..3)], value).await;
        sleep(Duration::from_millis(random.u64(..25))).await;
    }
    last
}

async fn cuts(subject: &dyn Subject) {
    let mut random = Rng::new();
    for _ in 0..CUTS {
        sleep(HEARTBEAT.mul_f64(random.f64())).await;
        subject.way(Way::Cut);
        // Sometimes for longer than a session lives without a proof.
        sleep(HEARTBEAT.mul_f64(3.5 * random.f64())).await;
        subject.way(Way::Slow(HEARTBEAT.mul_f64(0.2 * random.f64())));
    }
    subject.way(Way::Free);
}

async fn reads(copy: &Copy, history: &Checked, session: u32) {
    let (clock, mut random) = (Clock::machine(), Rng::new());
    loop {
        sleep(Duration::from_millis(random.u64(1..8))).await;
        let key = KEYS[random.usize(..3)];
        let limit = HEARTBEAT.mul_f64(4.0 * random.f64());
        let began = clock.now();
        let read = copy.replica.get(key, MaxAge::new(limit).or_fail()).await;
        let ended = clock.now();
        let Ok(reading) = read else { continue };
        assert!(reading.age <= limit, "{reading:?}");
        history.lock().expect("nobody panics").read(Read {
            session,
            key,
            began,
            ended,
            value: reading.value.as_deref().copied(),
            version: Some(reading.version),
            age: reading.age,
        });
    }
}

/// Wants to know what is so now, and has the source asked.
async fn asks(copy: &Copy) {
    let mut random = Rng::new();
    loop {
        sleep(Duration::from_millis(random.u64(..60))).await;
        let young = MaxAge::millis(random.u64(..20)).wait(HEARTBEAT / 4);
        let _ = copy.replica.get("a", young).await;
    }
}
