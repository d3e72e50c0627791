use backstay_core::window::{CountWindow, TimeWindow};
use loom::sync::Arc;
use loom::thread;

use crate::model;

fn spawn<T: Send + Sync + 'static>(
    shared: &Arc<T>,
    run: impl FnOnce(&T) + 'static,
) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || run(&shared))
}

/// CALL-6: two threads count while a third sums: no count is lost, and none is seen twice.
#[test]
fn time_window_adds_and_sum() {
    model(|| {
        let window = Arc::new(TimeWindow::<1>::new());
        let one = spawn(&window, |window| window.add(1, 7, 0));
        let two = spawn(&window, |window| window.add(1, 7, 0));
        assert!(window.sum(1, 7)[0] <= 2);
        one.join().expect("adds");
        two.join().expect("adds");
        assert_eq!(window.sum(1, 7), [2]);
    });
}

/// Tick 7 and this one have the same cell.
const A_LAP_LATER: u64 = 7 + 16;

/// CALL-6: three threads share two stripes, so two of them fight for one cell.
#[test]
fn time_window_shared_cell() {
    model(|| {
        let window = Arc::new(TimeWindow::<1>::new());
        window.add(1, 7, 0);
        let one = spawn(&window, |window| window.add(1, 7, 0));
        let two = spawn(&window, |window| window.add(1, A_LAP_LATER, 0));
        window.add(1, A_LAP_LATER, 0);
        one.join().expect("adds");
        two.join().expect("adds");
        assert_eq!(window.sum(1, A_LAP_LATER), [2]);
    });
}

/// CALL-7: a late count of the generation before changes nothing, wherever its thread was stopped.
#[test]
fn time_window_late_generation() {
    model(|| {
        let window = Arc::new(TimeWindow::<1>::new());
        let late = spawn(&window, |window| window.add(1, 7, 0));
        let early = spawn(&window, |window| window.add(2, 7, 0));
        window.add(2, 7, 0);
        late.join().expect("adds");
        early.join().expect("adds");
        assert_eq!(window.sum(2, 7), [2]);
    });
}

/// CALL-7: a late count that comes while the window is cleared is not of the generation that begins.
#[test]
fn time_window_clear() {
    model(|| {
        let window = Arc::new(TimeWindow::<1>::new());
        window.add(1, 7, 0);
        let late = spawn(&window, |window| window.add(1, 7, 0));
        window.clear();
        window.add(2, 7, 0);
        assert_eq!(window.sum(2, 7), [1]);
        late.join().expect("adds");
        assert_eq!(window.sum(2, 7), [1]);
    });
}

/// CALL-6: two threads wrap the ring; the counters end equal to its content.
#[test]
fn count_window_wraps() {
    model(|| {
        let window = Arc::new(CountWindow::new(2));
        window.add(1, 0b0100);
        let one = spawn(&window, |window| window.add(1, 0b0001));
        let two = spawn(&window, |window| window.add(1, 0b0010));
        one.join().expect("adds");
        two.join().expect("adds");
        assert_eq!(window.sum(1), (2, [1, 1, 0, 0]));
    });
}

/// CALL-6: a thread may be a whole lap late between its slot and the counters.
#[test]
fn count_window_overtaken_by_a_lap() {
    for flags in [0b0001, 0b1000, 0b1111] {
        model(move || {
            let window = Arc::new(CountWindow::new(1));
            let one = spawn(&window, move |window| window.add(1, flags));
            window.add(1, 0);
            one.join().expect("adds");
            let (total, counts) = window.sum(1);
            assert_eq!(total, 1);
            let mine = std::array::from_fn(|flag| flags >> flag & 1);
            assert!(counts == [0; 4] || counts == mine, "{counts:?}");
            // Another lap leaves nothing of either behind.
            window.add(1, 0);
            assert_eq!(window.sum(1), (1, [0; 4]));
        });
    }
}

/// CALL-6: what a reader sees in between never says more failures than calls, nor of a kind nobody had.
#[test]
fn count_window_sum_in_between() {
    model(|| {
        let window = Arc::new(CountWindow::new(1));
        let one = spawn(&window, |window| window.add(1, 0b0010));
        let two = spawn(&window, |window| window.add(1, 0));
        let (total, counts) = window.sum(1);
        assert!(total <= 1 && counts[1] <= total);
        assert_eq!([counts[0], counts[2], counts[3]], [0; 3]);
        one.join().expect("adds");
        two.join().expect("adds");
    });
}

/// CALL-7: a late call of the generation before changes nothing.
#[test]
fn count_window_late_generation() {
    model(|| {
        let window = Arc::new(CountWindow::new(2));
        let late = spawn(&window, |window| window.add(1, 0b0001));
        window.add(2, 0b0010);
        late.join().expect("adds");
        assert_eq!(window.sum(2), (1, [0, 1, 0, 0]));
    });
}
