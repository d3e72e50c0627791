use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use quanta::Mock;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A counter that is set by hand, beside a fall-back that is too.
struct Clocks {
    raw: Arc<Mock>,
    fall_back: Cell<Moment>,
    counter: Counter,
}

impl Clocks {
    /// The counter has run for an hour before it is first read.
    fn new() -> Self {
        let (clock, raw) = quanta::Clock::mock();
        raw.increment(3600 * SECOND);
        Self {
            raw,
            fall_back: Cell::new(MIDDLE),
            counter: Counter::start(clock),
        }
    }

    /// Both clocks go on.
    fn pass(&self, time: Duration) {
        self.raw.increment(time);
        self.fall_back.set(self.fall_back.get().plus(time));
    }

    fn now(&self) -> Moment {
        self.counter.now(|| self.fall_back.get())
    }

    fn fired(&self, due: Moment) -> Moment {
        self.counter.fired(due, || self.fall_back.get())
    }

    /// Whether the fall-back decides and the counter does not.
    fn gave_up(&self) -> bool {
        let before = self.now();
        self.raw.increment(SECOND);
        let moved = self.now() != before;
        self.raw.decrement(SECOND);
        !moved
    }
}

fn at(seconds: u32) -> Moment {
    MIDDLE.plus(seconds * SECOND)
}

/// The way it goes on every sound machine.
#[test]
fn a_counter_that_runs_is_all_that_is_read() {
    let (clock, raw) = quanta::Clock::mock();
    raw.increment(SECOND);
    let counter = Counter::start(clock);
    let unread = || unreachable!("the fall-back is not asked");
    assert_eq!(counter.now(unread), MIDDLE);
    raw.increment(5 * SECOND);
    assert_eq!(counter.now(unread), at(5));
    assert_eq!(counter.fired(at(5), unread), at(5));
    assert_eq!(counter.fired(at(4), unread), at(5));
}

/// The scale is the clock's own: a reading is no nanosecond.
#[test]
fn readings_are_turned_into_time() {
    let clock = quanta::Clock::new();
    let counter = Counter::start(clock.clone());
    let first = counter.first.load(Relaxed);
    let before = clock.raw();
    let now = counter.now(|| unreachable!("the counter was not set back"));
    let after = clock.raw();
    let between = MIDDLE.plus_nanos(clock.delta_as_nanos(first, before))
        ..=MIDDLE.plus_nanos(clock.delta_as_nanos(first, after));
    assert!(between.contains(&now), "{now:?} is not in {between:?}");
}

/// One reading is enough, and a counter that comes back is not believed again.
#[test]
fn a_reading_before_the_first_one_gives_the_counter_up_for_good() {
    let clocks = Clocks::new();
    clocks.pass(5 * SECOND);
    clocks.raw.decrement(5 * SECOND);
    assert_eq!(clocks.now(), at(0), "the first reading itself is sound");
    assert!(!clocks.gave_up());

    clocks.raw.decrement(1_u64);
    assert_eq!(clocks.now(), at(5));
    clocks.raw.increment(100 * SECOND);
    assert_eq!(clocks.now(), at(5));
    clocks.pass(SECOND);
    assert_eq!(clocks.now(), at(6));
    assert_eq!(clocks.fired(at(6)), at(6));
}

/// A step back that stays after the first reading shows when a timer fires, not before.
#[test]
fn a_step_back_is_followed_until_a_timer_fires() {
    let clocks = Clocks::new();
    clocks.pass(60 * SECOND);
    clocks.raw.decrement(30 * SECOND);
    assert_eq!(clocks.now(), at(30));
    assert!(!clocks.gave_up());
    assert_eq!(clocks.fired(at(60)), at(60));
    assert!(clocks.gave_up());
}

/// CALL-13: what drifts apart by little is waited for, what was set back is not.
#[test]
fn a_timer_that_fires_much_too_early_gives_the_counter_up() {
    let clocks = Clocks::new();
    clocks.fall_back.set(at(60));
    clocks.raw.increment(60 * SECOND);
    clocks.raw.decrement(DRIFT);
    assert_eq!(clocks.fired(at(60)), at(50), "the timer is set again");
    assert!(!clocks.gave_up());

    clocks.raw.decrement(1_u64);
    assert_eq!(clocks.fired(at(60)), at(60));
    assert!(clocks.gave_up());
}

/// CALL-13: a counter that ran ahead and was set back leaves a fall-back that is behind what was waited for.
#[test]
fn the_fall_back_takes_over_where_the_timer_fired() {
    let clocks = Clocks::new();
    // An hour's sleep that the counter knows of and the timers don't.
    clocks.raw.increment(3600 * SECOND);
    clocks.pass(60 * SECOND);
    let due = clocks.now();
    assert_eq!(due, at(3660));
    clocks.raw.decrement(1800 * SECOND);
    assert_eq!(clocks.fired(due), due);
    clocks.pass(SECOND);
    assert_eq!(clocks.now(), due.plus(SECOND));
    assert!(clocks.gave_up());
}

/// Ahead of the timer is where a fall-back may be.
#[test]
fn a_fall_back_that_is_ahead_is_not_moved() {
    let clocks = Clocks::new();
    clocks.fall_back.set(at(90));
    assert_eq!(clocks.fired(at(60)), at(90));
}

/// A reading before the first one does not tell how far time has got; the timers that were set then do.
#[test]
fn later_timers_move_the_fall_back_on() {
    let clocks = Clocks::new();
    clocks.raw.increment(3600 * SECOND);
    clocks.pass(60 * SECOND);
    clocks.raw.decrement(5000 * SECOND);
    assert_eq!(clocks.now(), at(60));
    assert_eq!(clocks.fired(at(3660)), at(3660));
    assert_eq!(clocks.fired(at(100)), at(3660), "but never back");
    assert_eq!(clocks.now(), at(3660));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Set(u64),
    Fire(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let nanos = 0..7200 * 1_000_000_000_u64;
    let step = prop_oneof![
        nanos.clone().prop_map(Step::Pass),
        nanos.clone().prop_map(Step::Set),
        nanos.prop_map(Step::Fire),
    ];
    proptest::collection::vec(step, 0..30)
}

proptest! {
    /// CALL-13: whatever the counter does, a fired timer is over or nearly so, and time by the fall-back never goes back.
    #[test]
    fn a_timer_is_never_waited_for_again_and_the_fall_back_never_goes_back(steps in steps()) {
        let clocks = Clocks::new();
        let mut last = None;
        for step in steps {
            match step {
                Step::Pass(nanos) => clocks.pass(Duration::from_nanos(nanos)),
                Step::Set(raw) => {
                    clocks.raw.decrement(clocks.raw.value());
                    clocks.raw.increment(raw);
                }
                Step::Fire(due) => {
                    let due = MIDDLE.plus_nanos(due);
                    prop_assert!(due.since(clocks.fired(due)) <= DRIFT);
                }
            }
            let given_up = clocks.gave_up();
            prop_assert!(given_up || last.is_none(), "the counter is believed again");
            if given_up {
                let now = clocks.now();
                prop_assert!(last <= Some(now), "{last:?}, then {now:?}");
                last = Some(now);
            }
        }
    }
}
