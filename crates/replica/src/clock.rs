use std::time::Duration;

use backstay_core::Moment;
use rustix::time::{ClockId, clock_getres, clock_gettime};

/// By what ages are counted.
///
/// [`now`](Self::now) is exact and counts the time in which the machine was suspended. A read takes two clocks that cost
/// a fraction of that and are a tick or two late; the age is the larger by either, and four ticks more, 16 ms on most machines. So it
/// may be too high, by these, or by a step of the wall clock until the next proof. It is too low only while a processor has taken no
/// tick for longer.
///
/// Without Linux's clocks the exact one stands still while the machine is suspended: the wall clock counts too then.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Machine {
        late: u64,
    },
    #[cfg(feature = "test-util")]
    Tokio(tokio::time::Instant),
}

/// Moments count from here: what a file of an earlier process holds may be from before this machine began.
const ORIGIN: Moment = Moment::from_nanos(1 << 62);

/// By so many ticks a cheap clock may be late: what counts a tick has to run, and 5.6 ms were seen where a tick takes 4.
const TICKS: u64 = 4;

/// What two cheap clocks show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// Never steps, and stands still while the machine is suspended.
    pub(crate) steady: u64,
    /// Goes on, and may be set.
    pub(crate) wall: u64,
}

#[cfg(target_os = "linux")]
mod ids {
    use super::ClockId;
    pub(super) const EXACT: ClockId = ClockId::Boottime;
    pub(super) const EXACT_COUNTS_SUSPENDS: bool = true;
    pub(super) const STEADY: ClockId = ClockId::MonotonicCoarse;
    pub(super) const WALL: ClockId = ClockId::RealtimeCoarse;
}

#[cfg(not(target_os = "linux"))]
mod ids {
    use super::ClockId;
    pub(super) const EXACT: ClockId = ClockId::Monotonic;
    pub(super) const EXACT_COUNTS_SUSPENDS: bool = false;
    pub(super) const STEADY: ClockId = ClockId::Monotonic;
    pub(super) const WALL: ClockId = ClockId::Realtime;
}

impl Clock {
    /// The machine's clocks.
    pub fn machine() -> Self {
        let of = |id| nanos(clock_getres(id));
        Self(Kind::Machine {
            late: of(ids::STEADY).max(of(ids::WALL)).saturating_mul(TICKS),
        })
    }

    /// tokio's clock from now on, which a test pauses.
    #[cfg(feature = "test-util")]
    pub fn tokio() -> Self {
        Self(Kind::Tokio(tokio::time::Instant::now()))
    }

    /// The time now, since some origin.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Kind::Machine { .. } => ORIGIN.plus_nanos(read(ids::EXACT)),
            #[cfg(feature = "test-util")]
            Kind::Tokio(start) => ORIGIN.plus(start.elapsed()),
        }
    }

    pub(crate) fn glance(&self) -> Glance {
        match &self.0 {
            Kind::Machine { .. } => Glance {
                steady: ORIGIN.plus_nanos(read(ids::STEADY)).as_nanos(),
                wall: ORIGIN.plus_nanos(read(ids::WALL)).as_nanos(),
            },
            #[cfg(feature = "test-util")]
            Kind::Tokio(_) => {
                let now = self.now().as_nanos();
                Glance {
                    steady: now,
                    wall: now,
                }
            }
        }
    }

    /// How late a glance may be, in nanoseconds.
    pub(crate) fn late(&self) -> u64 {
        match &self.0 {
            Kind::Machine { late } => *late,
            #[cfg(feature = "test-util")]
            Kind::Tokio(_) => 0,
        }
    }

    /// Time since a moment, at which the cheap clocks showed this, exactly.
    pub(crate) fn since(&self, exact: Moment, then: Glance) -> Duration {
        let since = self.now().since(exact);
        if ids::EXACT_COUNTS_SUSPENDS {
            return since;
        }
        since.max(at_most(self.glance(), then, self.late()))
    }

    /// As long as this is the same, moments of another process are comparable with one's own.
    pub(crate) fn era(&self) -> Option<String> {
        match &self.0 {
            Kind::Machine { .. } if cfg!(target_os = "linux") => {
                let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
                id.ok().map(|id| id.trim().to_owned())
            }
            Kind::Machine { .. } => None,
            #[cfg(feature = "test-util")]
            Kind::Tokio(_) => Some("test".to_owned()),
        }
    }

    /// What the cheap clocks showed at a moment, or less.
    pub(crate) fn glance_at(&self, moment: Moment) -> Glance {
        // First the cheap clocks: what passes in between makes the result older.
        let glance = self.glance();
        let ago = self.now().nanos_since(moment);
        Glance {
            steady: glance.steady.saturating_sub(ago),
            wall: glance.wall.saturating_sub(ago),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::machine()
    }
}

fn read(id: ClockId) -> u64 {
    nanos(clock_gettime(id))
}

fn nanos(time: rustix::time::Timespec) -> u64 {
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(time.tv_sec)
        .saturating_mul(1_000_000_000)
        .saturating_add(part(time.tv_nsec))
}

/// Time since a glance, at most: the larger by either clock.
pub(crate) fn at_most(now: Glance, then: Glance, late: u64) -> Duration {
    let steady = now.steady.saturating_sub(then.steady);
    let wall = now.wall.saturating_sub(then.wall);
    Duration::from_nanos(steady.max(wall).saturating_add(late))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn glance(steady: u64, wall: u64) -> Glance {
        Glance { steady, wall }
    }

    /// REP-1: whatever the wall clock does, and whether the machine was suspended: the age is never too low.
    #[test]
    fn the_larger_of_two_clocks_counts() {
        let since = |now| at_most(now, glance(100, 1_000), 4).as_nanos();
        assert_eq!(since(glance(107, 1_007)), 7 + 4);
        // Suspended: the steady clock stood still.
        assert_eq!(since(glance(107, 1_507)), 507 + 4);
        // The wall clock was set back, or forward.
        assert_eq!(since(glance(107, 3)), 7 + 4);
        assert_eq!(since(glance(107, 9_000)), 8_000 + 4);
    }

    /// REP-1: by the machine's clocks the cheap age is never below the exact one.
    #[test]
    fn the_cheap_age_is_never_below_the_exact_one() {
        let clock = Clock::machine();
        for _ in 0..10_000 {
            let asked = clock.now();
            let then = clock.glance_at(asked);
            let exact = clock.now().since(asked);
            assert!(at_most(clock.glance(), then, clock.late()) >= exact);
        }
    }
}
