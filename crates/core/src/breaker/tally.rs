use super::options::Window;
use crate::window::{CountWindow, TimeWindow};

/// What is counted about a call.
///
/// A slow call is counted twice: once as [`Slow`](Mark::Slow) when it becomes slow, which may be long before
/// its end, and once as what it ended as, marked late so that it does not enter the slow rate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Slow,
    Ended { end: End, late: bool },
}

/// How a call ended, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Success,
    Failure,
    Overloaded,
}

/// The content of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Calls that ended.
    pub(super) ended: u64,
    pub(super) failed: u64,
    pub(super) overloaded: u64,
    /// Calls whose speed is known: they ended in time or became slow.
    pub(super) timed: u64,
    pub(super) slow: u64,
}

impl Counts {
    pub(super) fn nothing_bad(&self) -> bool {
        self.failed + self.overloaded + self.slow == 0
    }
}

/// The window of a circuit, of either kind.
#[derive(Debug)]
pub(super) enum Tally {
    Time(TimeWindow<KINDS>),
    /// Ends and speeds have a ring each, so that a slow call takes one place in either.
    Calls {
        ends: CountWindow,
        speeds: CountWindow,
    },
}

/// Three ends in time, three late ends, slow, and one that makes them a power of two.
const KINDS: usize = 8;
const SLOW: usize = 6;

impl Tally {
    pub(super) fn new(window: Window) -> Self {
        match window {
            Window::Time(_) => Self::Time(TimeWindow::new()),
            Window::Calls(calls) => Self::Calls {
                ends: CountWindow::new(calls),
                speeds: CountWindow::new(calls),
            },
        }
    }

    pub(super) fn add(&self, generation: u64, tick: u64, mark: Mark) {
        match (self, mark) {
            (Self::Time(window), _) => window.add(generation, tick, kind(mark)),
            (Self::Calls { speeds, .. }, Mark::Slow) => speeds.add(generation, 1),
            (Self::Calls { ends, speeds }, Mark::Ended { end, late }) => {
                ends.add(generation, [0, 1, 2][end as usize]);
                if !late {
                    speeds.add(generation, 0);
                }
            }
        }
    }

    pub(super) fn counts(&self, generation: u64, tick: u64) -> Counts {
        match self {
            Self::Time(window) => {
                let [s, f, o, late_s, late_f, late_o, slow, _] = window.sum(generation, tick);
                let in_time = s + f + o;
                Counts {
                    ended: in_time + late_s + late_f + late_o,
                    failed: f + late_f,
                    overloaded: o + late_o,
                    timed: in_time + slow,
                    slow,
                }
            }
            Self::Calls { ends, speeds } => {
                let (ended, [failed, overloaded, ..]) = ends.sum(generation);
                let (timed, [slow, ..]) = speeds.sum(generation);
                Counts {
                    ended,
                    failed,
                    overloaded,
                    timed,
                    slow,
                }
            }
        }
    }

    /// Makes way for a generation whose number was used before.
    pub(super) fn clear(&self) {
        if let Self::Time(window) = self {
            window.clear();
        }
    }

    /// Begins `generation`, in which a bucket has another length, with what the old one held.
    pub(super) fn carry_over(&self, (old, old_tick): (u64, u64), (new, new_tick): (u64, u64)) {
        let Self::Time(window) = self else { return };
        let sums = window.sum(old, old_tick);
        window.clear();
        for (kind, sum) in sums.into_iter().enumerate() {
            if sum > 0 {
                window.add_many(new, new_tick, kind, sum);
            }
        }
    }
}

fn kind(mark: Mark) -> usize {
    match mark {
        Mark::Slow => SLOW,
        Mark::Ended { end, late } => end as usize + if late { 3 } else { 0 },
    }
}
